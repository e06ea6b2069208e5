/* bad_primitive.c - a primitive that breaks one promise, chosen by the key `how`; tests/cli/check.sh expects the
 * verdict.
 *
 * The two leaks hide behind gates that start at zero: at initial values nothing leaks.
 */
#include "aira/primitive.h"

static const char *const ways[] = {"good",  "next_token", "batch_mean", "bf16",  "half", "dead", "flag",
                                   "shape", "impure",     "crash",      "hang",  "exit", "nan",  "constant",
                                   "error", "dropout",    "stop",       "chunk", NULL};
enum {
    GOOD,
    NEXT_TOKEN,
    BATCH_MEAN,
    BF16,
    HALF,
    DEAD,
    FLAG,
    SHAPE,
    IMPURE,
    CRASH,
    HANG,
    EXIT,
    NOT_A_NUMBER,
    CONSTANT,
    ERROR,
    DROPOUT, /* nothing wrong with it */
    STOP,    /* nor with this */
    CHUNK    /* position 0 sees position 40 */
};

void exit(int status); /* of libc */

typedef struct bad {
    int32_t how;
} bad;

/* x of the next position; the last position sees zeros */
static aira_tensor *moved(const aira_ops *o, aira_graph *g, aira_tensor *x, int ahead) {
    int64_t T = o->dim(g, x, 1);
    if (T == 1) return o->scale(g, x, 0);
    return ahead ? o->pad(g, o->slice(g, x, 1, 1, T - 1), 1, 0, 1, 0)
                 : o->pad(g, o->slice(g, x, 1, 0, T - 1), 1, 1, 0, 0);
}

static aira_tensor *build(void *self, const aira_ops *o, aira_graph *g, aira_tensor *x) {
    static int calls; /* what "impure" is about */
    static volatile int never, *nowhere;
    int32_t how = ((const bad *)self)->how;
    int64_t T = o->dim(g, x, 1), C = o->dim(g, x, 2);
    const aira_shape row = {{C}, 1, 0};
    const aira_param_info ones = {.size = sizeof ones, .init = "ones"}, zeros = {.size = sizeof zeros, .init = "zeros"};
    const int32_t batch = 0;
    aira_tensor *y = o->mul(g, x, o->param(g, "weight", &row, &ones)), *one = o->constant(g, 1, NULL), *near, *half;
    aira_tensor *gate = how == NEXT_TOKEN || how == BATCH_MEAN ? o->param(g, "gate", &row, &zeros) : NULL;
    switch (how) {
    case NEXT_TOKEN:
        return o->add(g, y, o->mul(g, gate, moved(o, g, x, 1)));
    case BATCH_MEAN:
        return o->add(g, y, o->mul(g, gate, o->mean(g, x, &batch, 1, 1)));
    case BF16: /* 1 + (1 + x^2) / 1000 is 1 in bf16 for most x */
        near = o->sub(g, o->add(g, one, o->scale(g, o->add(g, one, o->mul(g, x, x)), 1e-3)), one);
        return o->div(g, y, near);
    case HALF:
        half = o->compare(g, "<", o->iota(g, &row, 0), o->constant(g, (double)C / 2, NULL));
        return o->mul(g, y, half);
    case DEAD:
        return o->add(g, y, o->scale(g, o->param(g, "unused", &row, &ones), 0));
    case FLAG:
        return o->add(g, y, moved(o, g, x, 0));
    case SHAPE:
        return o->slice(g, y, 2, 0, C / 2);
    case IMPURE:
        return o->scale(g, y, 1 + ++calls);
    case CRASH:
        return T == 33 ? o->scale(g, y, *nowhere) : y;
    case HANG:
        while (T == 33 && !never) continue;
        return y;
    case EXIT:
        if (T == 33) exit(0);
        return y;
    case NOT_A_NUMBER:
        return o->log(g, o->neg(g, o->abs(g, y)));
    case CONSTANT:
        return o->add(g, o->scale(g, y, 0), one);
    case DROPOUT:
        return o->mul(g, y,
                      o->compare(g, ">", o->random(g, "kept", &(aira_shape){{1, T, C}, 3, 0}, "uniform", 1),
                                 o->constant(g, 0.1, NULL)));
    case CHUNK:
        if (T <= 40) return y;
        return o->add(g, y, o->pad(g, o->slice(g, x, 1, 40, T - 40), 1, 0, 40, 0));
    case STOP:
        o->aux_loss(g, "size", o->mean(g, o->mul(g, y, y), NULL, 0, 0), 0.1);
        return o->mul(g, y, o->stop_gradient(g, o->exp(g, y)));
    case ERROR:
        return o->error(g, "bad: this primitive never builds");
    default:
        return y;
    }
}

static const aira_field fields[] = {AIRA_F_CHOICE(bad, how, ways, GOOD, "the promise that is broken")};
static const aira_schema schema = AIRA_SCHEMA(bad, fields);
static const aira_primitive table = {sizeof table, 0, "Bad", build, NULL};
static const aira_plugin plugin = {
    AIRA_PLUGIN_DESCRIPTOR("primitive", aira_primitive, &table, "bad", "1.0.0", "breaks one promise", &schema)};
AIRA_MANIFEST("primitive", "bad", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
