/* core/config/number.c - texts into values: the YAML 1.2 core schema, and numbers with units.
 *
 * libyaml leaves every scalar a text, so typing is ours. Decimal numbers with units are exact: "1.5M" is 15 * 10^5, not
 * a rounded product, and a count that is not whole ("0.5") is refused rather than rounded.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/config/internal.h"

__extension__ typedef __int128 wide;

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool one_of(const char *text, const char *const *words) {
    for (int i = 0; words[i] != NULL; i++)
        if (strcmp(text, words[i]) == 0) return true;
    return false;
}

bool aira__text_bool(const char *text, bool *value) {
    static const char *const yes[] = {"true", "True", "TRUE", NULL}, *const no[] = {"false", "False", "FALSE", NULL};
    *value = one_of(text, yes);
    return *value || one_of(text, no);
}

/* [-+]?[0-9]+, 0o[0-7]+, 0x[0-9a-fA-F]+ */
static bool integer_form(const char *text, const char **digits, int *base, bool *negative) {
    *negative = false;
    *base = 10;
    if (text[0] == '0' && (text[1] == 'o' || text[1] == 'x')) {
        *base = text[1] == 'o' ? 8 : 16;
        text += 2;
    } else if (*text == '-' || *text == '+') {
        *negative = *text++ == '-';
    }
    *digits = text;
    size_t n = strspn(text, *base == 10 ? "0123456789" : *base == 8 ? "01234567" : "0123456789abcdefABCDEF");
    return n > 0 && text[n] == 0;
}

bool aira__text_seed(const char *text, uint64_t *value) {
    const char *digits;
    int base;
    bool negative;
    if (!integer_form(text, &digits, &base, &negative)) return false;
    uint64_t sum = 0;
    for (const char *p = digits; *p != 0; p++) {
        unsigned digit = is_digit(*p) ? (unsigned)(*p - '0') : (unsigned)((*p | 32) - 'a' + 10);
        if (__builtin_mul_overflow(sum, (uint64_t)base, &sum) || __builtin_add_overflow(sum, digit, &sum)) return false;
    }
    *value = sum;
    return !negative || sum == 0;
}

bool aira__text_int(const char *text, int64_t *value) {
    const char *digits;
    int base;
    bool negative;
    uint64_t sum;
    if (!integer_form(text, &digits, &base, &negative)) return false;
    if (base == 10) text = digits; /* without its sign */
    if (!aira__text_seed(text, &sum) || sum > (uint64_t)INT64_MAX + negative) return false;
    *value = negative ? (int64_t)(0 - sum) : (int64_t)sum;
    return true;
}

/* Length of [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? at the start of text, 0 if it does not begin so. */
static size_t real_form(const char *text) {
    const char *p = text;
    if (*p == '-' || *p == '+') p++;
    size_t whole = strspn(p, "0123456789"), fraction = 0;
    p += whole;
    if (*p == '.') {
        fraction = strspn(p + 1, "0123456789");
        if (whole + fraction > 0) p += 1 + fraction;
    }
    if (whole + fraction == 0) return 0;
    if (*p == 'e' || *p == 'E') {
        const char *e = p + 1;
        if (*e == '-' || *e == '+') e++;
        size_t n = strspn(e, "0123456789");
        if (n > 0) p = e + n;
    }
    return (size_t)(p - text);
}

bool aira__text_real(const char *text, double *value) {
    size_t n = real_form(text);
    if (n == 0 || text[n] != 0) return false;
    *value = strtod(text, NULL);
    return isfinite(*value);
}

aira__scalar_type aira__scalar_type_of(const aira__node *scalar) {
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const specials[] = {".inf",  ".Inf",  ".INF", "-.inf", "-.Inf", "-.INF", "+.inf",
                                           "+.Inf", "+.INF", ".nan", ".NaN",  ".NAN",  NULL};
    const char *text = scalar->text, *digits;
    int base;
    bool flag;
    if (scalar->quoted) return AIRA__STRING;
    if (one_of(text, nulls)) return AIRA__NULL;
    if (aira__text_bool(text, &flag)) return AIRA__BOOL;
    if (integer_form(text, &digits, &base, &flag)) return AIRA__INT;
    size_t n = real_form(text);
    return (n > 0 && text[n] == 0) || one_of(text, specials) ? AIRA__REAL : AIRA__STRING;
}

typedef struct {
    const char *name;
    int64_t factor;
} unit;

static const int64_t powers_of_ten[] = {1,
                                        10,
                                        100,
                                        1000,
                                        10000,
                                        100000,
                                        1000000,
                                        10000000,
                                        100000000,
                                        1000000000,
                                        10000000000,
                                        100000000000,
                                        1000000000000,
                                        10000000000000,
                                        100000000000000,
                                        1000000000000000,
                                        10000000000000000,
                                        100000000000000000,
                                        1000000000000000000};

/* number unit -> value * factor, exactly, when that is whole and fits. */
static bool scaled(const char *text, const unit *units, int64_t *value) {
    size_t n = real_form(text);
    if (n == 0 || text[0] == '-') return false;
    const char *rest = text + n;
    while (*rest == ' ') rest++;
    int64_t factor = 0;
    for (const unit *u = units; u->name != NULL; u++)
        if (strcmp(u->name, rest) == 0) factor = u->factor;
    if (factor == 0) return false;
    wide mantissa = 0;
    long exponent = 0;
    bool point = false;
    const char *p = text + (text[0] == '+');
    for (; p < text + n && (is_digit(*p) || *p == '.'); p++) {
        if (*p == '.') {
            point = true;
        } else {
            mantissa = mantissa * 10 + (*p - '0');
            if (mantissa > powers_of_ten[18]) return false;
            exponent -= point;
        }
    }
    if (p < text + n) {
        long e = strtol(p + 1, NULL, 10);
        exponent += e < -1000 ? -1000 : e > 1000 ? 1000 : e; /* such are refused below */
    }
    wide result = mantissa * factor;
    if (exponent < -18 || exponent > 18) return false;
    if (exponent > 0 && (result > INT64_MAX || result * powers_of_ten[exponent] > INT64_MAX)) return false;
    if (exponent > 0) result *= powers_of_ten[exponent];
    if (exponent < 0 && result % powers_of_ten[-exponent] != 0) return false;
    if (exponent < 0) result /= powers_of_ten[-exponent];
    if (result > INT64_MAX) return false;
    *value = (int64_t)result;
    return true;
}

bool aira__text_count(const char *text, int64_t *value) {
    static const unit units[] = {{"", 1},           {"K", 1000},          {"M", 1000000},
                                 {"B", 1000000000}, {"T", 1000000000000}, {NULL, 0}};
    return aira__text_int(text, value) || scaled(text, units, value);
}

bool aira__text_bytes(const char *text, int64_t *value) {
    static const unit units[] = {{"", 1},
                                 {"B", 1},
                                 {"KiB", (int64_t)1 << 10},
                                 {"MiB", (int64_t)1 << 20},
                                 {"GiB", (int64_t)1 << 30},
                                 {"TiB", (int64_t)1 << 40},
                                 {"KB", 1000},
                                 {"MB", 1000000},
                                 {"GB", 1000000000},
                                 {"TB", 1000000000000},
                                 {NULL, 0}};
    return scaled(text, units, value);
}

bool aira__text_duration(const char *text, double *seconds) {
    static const struct {
        const char *name;
        double factor;
    } units[] = {{"", 1}, {"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
    size_t n = real_form(text);
    if (n == 0 || text[0] == '-') return false;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(text + n, units[i].name) != 0) continue;
        *seconds = strtod(text, NULL) * units[i].factor; /* stops at the unit */
        return isfinite(*seconds);
    }
    return false;
}

void aira__number_text(double value, char text[32]) {
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, 32, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    if (fabs(value) < 1e15 && value == floor(value)) snprintf(text, 32, "%.0f", value);
}
