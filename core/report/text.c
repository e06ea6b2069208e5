/* core/report/text.c - text and numbers as a page shows them. Everything foreign goes through report_escape. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/report/internal.h"

void report_escape(aira__buf *b, const char *text) {
    for (const char *plain = text;; text++) {
        const char *entity = NULL;
        switch (*text) {
        case '&':
            entity = "&amp;";
            break;
        case '<':
            entity = "&lt;";
            break;
        case '>':
            entity = "&gt;";
            break;
        case '"':
            entity = "&quot;";
            break;
        case '\'':
            entity = "&#39;";
            break;
        default:
            break;
        }
        if (!entity && *text) continue;
        aira__buf_add(b, plain, (size_t)(text - plain));
        if (!*text) return;
        aira__buf_text(b, entity);
        plain = text + 1;
    }
}

void report_number(aira__buf *b, double value, int digits) {
    if (isnan(value))
        aira__buf_text(b, "–");
    else
        aira__buf_printf(b, "%.*g", digits, value);
}

void report_grouped(aira__buf *b, double value) {
    char digits[64];
    if (isnan(value)) {
        aira__buf_text(b, "–");
        return;
    }
    int n = snprintf(digits, sizeof digits, "%.0f", fabs(value));
    if (value < 0) aira__buf_text(b, "-");
    for (int i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0) aira__buf_text(b, ",");
        aira__buf_add(b, digits + i, 1);
    }
}

void report_fixed(aira__buf *b, double value, int decimals, bool sign) {
    if (isnan(value))
        aira__buf_text(b, "–");
    else
        aira__buf_printf(b, "%s%.*f", value < 0 ? "−" : sign ? "+" : "", decimals, fabs(value));
}

void report_short(aira__buf *b, double value) {
    static const char *const units[] = {"", " K", " M", " G", " T", " P", " E"};
    int unit = 0;
    for (; fabs(value) >= 999.5 && unit < 6; unit++) value /= 1000;
    if (isnan(value))
        aira__buf_text(b, "–");
    else
        aira__buf_printf(b, fabs(value) >= 100 ? "%.0f%s" : "%.3g%s", value, units[unit]);
}

void report_money(aira__buf *b, const report_calls *c) {
    if (c->calls == 0) {
        aira__buf_text(b, "none");
    } else if (isnan(c->money_usd)) {
        aira__buf_text(b, "unknown");
    } else {
        aira__buf_printf(b, c->money_usd > 0 && c->money_usd < 0.1 ? "%s%.4f USD" : "%s%.2f USD",
                         c->unpriced ? "at least " : "", c->money_usd);
    }
}

void report_date(aira__buf *b, double seconds) {
    char date[64];
    time_t at = (time_t)seconds;
    struct tm parts;
    if (!(seconds > 0 && seconds < 1e11) || !gmtime_r(&at, &parts)) return;
    if (strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S UTC", &parts)) aira__buf_text(b, date);
}

void report_millions(aira__buf *b, double value) {
    if (isnan(value)) {
        aira__buf_text(b, "–");
        return;
    }
    double tenths = floor(fabs(value) / 1e5 + 0.5);
    report_grouped(b, floor(tenths / 10));
    aira__buf_printf(b, ".%d M", (int)fmod(tenths, 10));
}

void report_duration(aira__buf *b, double seconds) {
    if (isnan(seconds))
        aira__buf_text(b, "–");
    else if (seconds < 60)
        aira__buf_printf(b, "%.3g s", seconds);
    else if (seconds < 3600)
        aira__buf_printf(b, "%d min %d s", (int)(seconds / 60), (int)fmod(seconds, 60));
    else
        aira__buf_printf(b, "%.0f h %d min", floor(seconds / 3600), (int)(fmod(seconds, 3600) / 60));
}

/* Inside a script element only `<` can end or change the element. */
bool report_json_in_html(aira__buf *b, const json_t *value) {
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(8));
    if (!text) return false;
    const char *plain = text;
    for (const char *at = text; *at; at++) {
        if (*at != '<') continue;
        aira__buf_add(b, plain, (size_t)(at - plain));
        aira__buf_text(b, "\\u003c");
        plain = at + 1;
    }
    bool fine = aira__buf_text(b, plain);
    free(text);
    return fine;
}
