/* core/search/progress_frame.c - the text of a frame; see progress.h. Pure: what is shown depends on the view alone. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "core/search/progress.h"
#include "core/search/tree.h"

#define BAR_CELLS 20
#define SPARK_CELLS 32

void aira__progress_count(aira__progress_counts *c, uint32_t operator_code, bool good, bool duplicate, double score,
                          int64_t search, int64_t node, const char *architecture, double now) {
    if (c->nodes == 0) c->best = c->before = NAN, c->every = 1;
    c->nodes++;
    if (operator_code < AIRA__PROGRESS_OPERATORS) c->operators[operator_code]++;
    c->duplicates += duplicate;
    c->failed += !good;
    if (good && !isnan(score) && (isnan(c->best) || (c->higher_is_better ? score > c->best : score < c->best))) {
        c->before = c->best;
        c->best = score;
        c->when = now;
        c->best_search = search;
        c->best_node = node;
        snprintf(c->architecture, sizeof c->architecture, "%s", architecture ? architecture : "");
    }
    if (c->nodes % c->every || isnan(c->best)) return;
    if (c->n_history == AIRA__PROGRESS_HISTORY) { /* every other point goes, and from now on half as many come */
        for (int i = 0; i < AIRA__PROGRESS_HISTORY / 2; i++) c->history[i] = c->history[2 * i + 1];
        c->n_history = AIRA__PROGRESS_HISTORY / 2;
        c->every *= 2;
    }
    c->history[c->n_history++] = c->best;
}

/* -------------------------------------------------------------------- lines */

typedef struct frame {
    aira__buf *b;
    int columns, rows, n;
    bool utf8;
} frame;

/* Bytes of the character at s, one where it is none. */
static size_t character(const char *s) {
    unsigned char c = (unsigned char)*s;
    size_t n = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
    for (size_t i = 1; i < n; i++)
        if (((unsigned char)s[i] & 0xc0) != 0x80) return 1;
    return n;
}

/* A line, cut to the columns; what would move the cursor becomes '?'. */
static void put(frame *f, const char *line) {
    if (f->n >= f->rows) return;
    int column = 0;
    for (size_t n; *line && column < f->columns; line += n, column++) {
        n = character(line);
        bool strange = (n == 1 && ((unsigned char)*line < 0x20 || (unsigned char)*line >= 0x7f));
        aira__buf_add(f->b, strange ? "?" : line, strange ? 1 : n);
    }
    aira__buf_text(f->b, "\n");
    f->n++;
}

static void clock_text(char *text, size_t size, double seconds) {
    if (isnan(seconds) || seconds > 3e8) {
        snprintf(text, size, "?");
        return;
    }
    int64_t s = (int64_t)seconds;
    if (s >= 86400)
        snprintf(text, size, "%" PRId64 "d %02" PRId64 ":%02" PRId64, s / 86400, s / 3600 % 24, s / 60 % 60);
    else
        snprintf(text, size, "%02" PRId64 ":%02" PRId64 ":%02" PRId64, s / 3600, s / 60 % 60, s % 60);
}

static void amount_text(char *text, size_t size, double value) {
    static const char *const units[] = {"", "K", "M", "G", "T", "P", "E"};
    int unit = 0;
    if (isnan(value)) {
        snprintf(text, size, "unknown");
        return;
    }
    for (; value >= 999.5 && unit < 6; unit++) value /= 1000;
    snprintf(text, size, unit && value < 100 ? "%.1f%s" : "%.0f%s", value, units[unit]);
}

static void bar_text(const frame *f, char *text, size_t size, double share) {
    int full = (int)(fmin(fmax(share, 0), 1) * BAR_CELLS + 0.5);
    size_t used = 0;
    for (int i = 0; i < BAR_CELLS && used + 4 < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s",
                                 f->utf8 ? (i < full ? "█" : "░") : (i < full ? "#" : "."));
}

static void spark_text(const frame *f, const aira__progress_counts *c, char *text, size_t size) {
    static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"}, *const plain[] = {"_", ".", "-", "'"};
    int levels = f->utf8 ? 8 : 4, cells = c->n_history < SPARK_CELLS ? c->n_history : SPARK_CELLS;
    double low = c->history[0], high = c->history[c->n_history - 1];
    size_t used = 0;
    text[0] = 0;
    for (int i = 0; i < cells && used + 4 < size; i++) {
        double at = c->history[(int64_t)i * (c->n_history - 1) / (cells > 1 ? cells - 1 : 1)];
        int level = high != low ? (int)((at - low) / (high - low) * (levels - 1) + 0.5) : 0;
        used += (size_t)snprintf(text + used, size - used, "%s", f->utf8 ? blocks[level] : plain[level]);
    }
}

/* ---------------------------------------------------------------------- eta */

static void sooner(double *eta, const aira__progress_view *v, double limit, double used, double before) {
    double pace = (used - before) / v->session;
    if (!(limit > 0) || isnan(used) || !(v->session > 0)) return;
    double left = used >= limit ? 0 : pace > 0 ? (limit - used) / pace : NAN;
    if (!isnan(left) && (isnan(*eta) || left < *eta)) *eta = left;
}

double aira__progress_eta(const aira__progress_view *v) {
    double eta = NAN;
    const aira__usage *now = v->usage, *before = v->before;
    const aira__budget *b = v->budget;
    sooner(&eta, v, (double)b->candidates, (double)now->candidates, (double)before->candidates);
    sooner(&eta, v, (double)b->evaluations, (double)now->evaluations, (double)before->evaluations);
    sooner(&eta, v, b->wall, v->seconds, v->seconds - v->session);
    sooner(&eta, v, b->device_seconds, now->device_seconds, before->device_seconds);
    sooner(&eta, v, b->flops, now->flops, before->flops);
    sooner(&eta, v, (double)b->tokens, now->tokens, isnan(before->tokens) ? 0 : before->tokens);
    sooner(&eta, v, b->money_usd, now->money_usd, isnan(before->money_usd) ? 0 : before->money_usd);
    return eta;
}

/* The limit that is nearest, as a share of itself. */
static const char *nearest_limit(const aira__progress_view *v, double *share) {
    const struct {
        const char *name;
        double limit, used;
    } limits[] = {{"candidates", (double)v->budget->candidates, (double)v->usage->candidates},
                  {"evaluations", (double)v->budget->evaluations, (double)v->usage->evaluations},
                  {"wall time", v->budget->wall, v->seconds},
                  {"device time", v->budget->device_seconds, v->usage->device_seconds},
                  {"FLOPs", v->budget->flops, v->usage->flops},
                  {"tokens", (double)v->budget->tokens, v->usage->tokens},
                  {"money", v->budget->money_usd, v->usage->money_usd}};
    const char *name = NULL;
    *share = -1;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        if (!(limits[i].limit > 0) || isnan(limits[i].used) || limits[i].used / limits[i].limit <= *share) continue;
        *share = limits[i].used / limits[i].limit;
        name = limits[i].name;
    }
    return name;
}

/* -------------------------------------------------------------------- frame */

static void head_line(frame *f, const aira__progress_view *v) {
    char line[512], time[32], limit[48] = "", wall[32];
    clock_text(time, sizeof time, v->seconds);
    if (v->budget->wall > 0) {
        clock_text(wall, sizeof wall, v->budget->wall);
        snprintf(limit, sizeof limit, " of %s", wall);
    }
    snprintf(line, sizeof line, "%.120s  %s%s  searches %d of %d done", v->study, time, limit, v->n_done,
             v->n_searches);
    put(f, line);
}

static void best_line(frame *f, const aira__progress_view *v) {
    const aira__progress_counts *c = v->counts;
    char line[700], gain[48] = "", age[32];
    if (c->nodes == 0 || isnan(c->best)) {
        put(f, "best   none yet");
        return;
    }
    clock_text(age, sizeof age, v->best_age);
    if (!isnan(c->before)) snprintf(gain, sizeof gain, ", %+.4g", c->best - c->before);
    snprintf(line, sizeof line, "best   %.6g%s, %s ago  %s  (search %" PRId64 ", node %" PRId64 ")", c->best, gain, age,
             c->architecture, c->best_search, c->best_node);
    put(f, line);
}

static void count_line(frame *f, const aira__progress_view *v) {
    const aira__progress_counts *c = v->counts;
    char line[512], limit[32] = "";
    if (v->budget->candidates >= 0) snprintf(limit, sizeof limit, "/%" PRId64, v->budget->candidates);
    int used = snprintf(line, sizeof line, "nodes  %" PRId64 "%s ", c->nodes, limit);
    for (uint32_t i = 0; i < AIRA__PROGRESS_OPERATORS; i++)
        if (c->operators[i])
            used += snprintf(line + used, sizeof line - (size_t)used, " %s %" PRId64, aira__operator_name(i),
                             c->operators[i]);
    double all = c->nodes ? (double)c->nodes : 1;
    snprintf(line + used, sizeof line - (size_t)used,
             "  duplicates %" PRId64 " (%.0f %%)  failed %" PRId64 " (%.0f %%)", c->duplicates,
             100 * (double)c->duplicates / all, c->failed, 100 * (double)c->failed / all);
    put(f, line);
}

static void work_line(frame *f, const aira__progress_view *v) {
    char line[256], flops[32];
    amount_text(flops, sizeof flops, v->usage->flops);
    snprintf(line, sizeof line, "work   %d training, %d waiting  %" PRId64 " trained  %s FLOPs  calls in flight %d",
             v->running, v->waiting, v->usage->trainings, flops, v->asking);
    put(f, line);
}

static void spend_line(frame *f, const aira__progress_view *v) {
    char line[256], tokens[32], pace[48] = "", rate[32], money[32] = "unknown", limit[48] = "", unpriced[64] = "";
    amount_text(tokens, sizeof tokens, v->usage->tokens);
    double fresh = v->usage->tokens - (isnan(v->before->tokens) ? 0 : v->before->tokens);
    if (fresh > 0 && v->session > 1) {
        amount_text(rate, sizeof rate, 60 * fresh / v->session);
        snprintf(pace, sizeof pace, ", %s/min", rate);
    }
    if (!isnan(v->usage->money_usd)) snprintf(money, sizeof money, "%.2f", v->usage->money_usd);
    if (v->budget->money_usd > 0) snprintf(limit, sizeof limit, " of %.2f", v->budget->money_usd);
    if (v->usage->unpriced)
        snprintf(unpriced, sizeof unpriced, "  (%" PRId64 " answers without a price)", v->usage->unpriced);
    snprintf(line, sizeof line, "spent  tokens %s%s  money %s%s USD%s", tokens, pace, money, limit, unpriced);
    put(f, line);
}

static void budget_line(frame *f, const aira__progress_view *v) {
    char line[256], bar[BAR_CELLS * 3 + 8], eta[32];
    double share;
    const char *name = nearest_limit(v, &share);
    if (!name) {
        put(f, "budget without limit");
        return;
    }
    bar_text(f, bar, sizeof bar, share);
    clock_text(eta, sizeof eta, aira__progress_eta(v));
    if (share >= 1)
        snprintf(line, sizeof line, "budget %s 100 %% of %s  the last are under way", bar, name);
    else
        snprintf(line, sizeof line, "budget %s %3.0f %% of %s  about %s left", bar, 100 * share, name, eta);
    put(f, line);
}

static void search_lines(frame *f, const aira__progress_view *v) {
    for (int i = 0; i < v->n_shown; i++) {
        const aira__progress_search *s = &v->searches[i];
        char line[512], limit[32] = "", best[32] = "-";
        if (s->limit >= 0) snprintf(limit, sizeof limit, "/%" PRId64, s->limit);
        if (!isnan(s->best)) snprintf(best, sizeof best, "%.6g", s->best);
        snprintf(line, sizeof line, "%5" PRId64 "  %-24.80s seed %-4" PRIu64 " %6" PRId64 "%-6s best %-10s %-8s %.120s",
                 s->id, s->label, s->seed, s->nodes, limit, best, s->state, s->architecture ? s->architecture : "");
        put(f, line);
    }
    if (v->n_searches > v->n_shown) {
        char line[64];
        snprintf(line, sizeof line, "       and %d more", v->n_searches - v->n_shown);
        put(f, line);
    }
}

int aira__progress_frame(const aira__progress_view *v, int columns, int rows, bool utf8, aira__buf *b) {
    frame f = {.b = b, .columns = columns, .rows = rows < AIRA__FRAME_LINES ? rows : AIRA__FRAME_LINES, .utf8 = utf8};
    char line[SPARK_CELLS * 3 + 16];
    head_line(&f, v);
    best_line(&f, v);
    if (v->counts->n_history > 1) {
        memcpy(line, "       ", 8);
        spark_text(&f, v->counts, line + 7, sizeof line - 7);
        put(&f, line);
    }
    count_line(&f, v);
    work_line(&f, v);
    spend_line(&f, v);
    budget_line(&f, v);
    search_lines(&f, v);
    return f.n;
}
