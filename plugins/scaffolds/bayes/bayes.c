/* plugins/scaffolds/bayes/bayes.c - Bayesian optimisation: a Gaussian process says what to try next.
 *
 * `initial` architectures at random, then always the one of highest noisy expected improvement (gp.h), among all that
 * no node has where the space holds 4,096 or fewer, else among `pool`: half of them one to three changes away from one
 * of the eight best nodes, half at random. It needs no agent and stops when the space is exhausted.
 *
 * What the process is told: scores, standardised, with the noise of one training over `n_seeds`; a failed node as the
 * lowest score; a pending one as the mean (constant liar), so that parallel nodes spread. Length and noise are those of
 * highest marginal likelihood on a grid. Work grows with the third power of the nodes, so no more than `train` of them
 * are told: the better half of that number, and the latest others.
 *
 * Pure: every draw comes from the view.
 */
#include <math.h>

#include "../common/space.h"
#include "gp.h"

#define WHOLE 4096u /* a space up to this size is the pool */
#define BEST 8u

typedef struct bayes {
    int64_t initial, pool, train;
} bayes;

static const aira_field fields[] = {
    AIRA_F_INT(bayes, initial, 5, 1, 1000000, "architectures drawn at random before the model decides"),
    AIRA_F_INT(bayes, pool, 1024, 16, 1000000, "architectures looked at per decision where the space is large"),
    AIRA_F_INT(bayes, train, 192, 16, 2000, "nodes that the model is told, at most; time grows with its cube"),
};
static const aira_schema schema = AIRA_SCHEMA(bayes, fields);

typedef struct instance {
    const aira_host *host;
    bayes set;
} instance;

static aira_status create(const aira_host *host, const void *config, void **self) {
    instance *made = host->alloc(host, sizeof *made);
    if (!made) return host->fail(host, AIRA_E_MEMORY, "scaffold bayes: out of memory");
    made->host = host;
    made->set = *(const bayes *)config;
    *self = made;
    return AIRA_OK;
}

static void destroy(void *self) {
    instance *made = self;
    if (made) made->host->release(made->host, made);
}

/* ---- what the model is told ---- */

typedef struct lesson {
    const aira_journal_view *view;
    uint32_t n, n_good;
    uint32_t *ranked;   /* n_good: good nodes, the best first */
    uint8_t *told;      /* of every node: is it among the n? */
    const uint16_t **x; /* n architectures */
    double *y, *weight; /* n: standardised, the higher the better; of the noise */
    double mean, deviation, low;
} lesson;

static double value_of(const aira_journal_view *view, uint32_t i) {
    const aira_node_view *node = aira_view_node(view, i);
    if (node->status != AIRA_NODE_GOOD || !node->layers) return NAN;
    return view->higher_is_better ? node->score : -node->score;
}

/* The earlier first among equals. */
static void rank(lesson *l) {
    double sum = 0, squares = 0;
    l->low = INFINITY;
    for (uint32_t i = 0; i < l->view->n_nodes; i++) {
        double value = value_of(l->view, i);
        if (isnan(value)) continue;
        uint32_t low = 0, high = l->n_good++;
        while (low < high) {
            uint32_t middle = (low + high) / 2;
            if (value_of(l->view, l->ranked[middle]) >= value)
                low = middle + 1;
            else
                high = middle;
        }
        memmove(&l->ranked[low + 1], &l->ranked[low], (l->n_good - 1 - low) * sizeof *l->ranked);
        l->ranked[low] = i;
        l->low = fmin(l->low, value);
        sum += value;
    }
    l->mean = sum / fmax(l->n_good, 1);
    for (uint32_t i = 0; i < l->n_good; i++) squares += pow(value_of(l->view, l->ranked[i]) - l->mean, 2);
    l->deviation = sqrt(squares / fmax(l->n_good, 1));
}

static void tell(lesson *l, uint32_t i) {
    const aira_node_view *node = aira_view_node(l->view, i);
    double value = node->status == AIRA_NODE_GOOD    ? value_of(l->view, i)
                   : node->status == AIRA_NODE_BUGGY ? l->low
                                                     : l->mean;
    l->x[l->n] = node->layers;
    l->y[l->n] = (value - l->mean) / l->deviation;
    l->weight[l->n++] = 1.0 / (node->n_seeds ? node->n_seeds : 1);
}

/* Chooses the nodes to tell: at most `most`. */
static void teach(lesson *l, uint32_t most) {
    uint32_t n = 0;
    for (; n < l->n_good && n < most / 2; n++) l->told[l->ranked[n]] = 1;
    for (uint32_t i = l->view->n_nodes; i-- > 0 && n < most;)
        if (!l->told[i] && aira_view_node(l->view, i)->layers) {
            l->told[i] = 1;
            n++;
        }
    for (uint32_t i = 0; i < l->view->n_nodes; i++)
        if (l->told[i]) tell(l, i);
}

/* ---- what is looked at ---- */

typedef struct pool {
    const lesson *l;
    const gp_improvement *improvement;
    uint16_t *best; /* so far: action->layers */
    double highest;
} pool;

static void look(pool *p, const uint16_t *layers) {
    double value = gp_improvement_of(p->improvement, layers);
    if (value <= p->highest) return;
    p->highest = value;
    memcpy(p->best, layers, p->l->view->n_layers * sizeof *layers);
}

static void look_at_all(pool *p, uint64_t size, uint16_t *layers) {
    space_set set;
    space_mark(p->l->view, &set);
    for (uint64_t number = 0; number < size; number++) {
        if (space_has(&set, number)) continue;
        space_layers(p->l->view, number, layers);
        look(p, layers);
    }
}

/* One to three changes of one of the best. Uses eight draws from `which` on. */
static void change(const lesson *l, uint32_t which, uint16_t *layers) {
    const aira_journal_view *view = l->view;
    uint32_t best = l->n_good < BEST ? l->n_good : BEST;
    uint32_t parent = l->ranked[space_below(view, which, best)];
    uint64_t changes = 1 + space_below(view, which + 1, 3);
    memcpy(layers, aira_view_node(view, parent)->layers, view->n_layers * sizeof *layers);
    for (uint64_t i = 0; i < changes; i++)
        layers[space_below(view, which + 2 + 2 * (uint32_t)i, view->n_layers)] = (uint16_t)space_below(
            view, which + 3 + 2 * (uint32_t)i, view->n_tokens);
}

static void look_at_some(pool *p, int64_t n, uint32_t which, uint16_t *layers) {
    const aira_journal_view *view = p->l->view;
    for (int64_t i = 0; i < n; i++, which += 8 + view->n_layers) {
        if (i % 2)
            for (uint32_t k = 0; k < view->n_layers; k++)
                layers[k] = (uint16_t)space_below(view, which + 8 + k, view->n_tokens);
        else
            change(p->l, which, layers);
        if (!space_taken(view, layers)) look(p, layers);
    }
}

/* ---- the decision ---- */

static double normal(void *context, uint32_t i) { /* Box-Muller; draws from 1,000,000 on */
    const aira_journal_view *view = context;
    double u = 1 - view->draw(view, 1000000 + 2 * i), v = view->draw(view, 1000001 + 2 * i);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

/* Puts the best of the pool into layers; 0 where the model has nothing to say. */
static int model(const lesson *l, const bayes *set, double *memory, uint16_t *spare, uint16_t *layers) {
    const aira_journal_view *view = l->view;
    uint64_t size = space_size(view);
    gp g;
    gp_improvement improvement;
    gp_init(&g, l->n, view->n_layers, l->x, l->y, l->weight, memory);
    if (!gp_fit_grid(&g)) return 0;
    if (!gp_improvement_init(&improvement, &g, normal, (void *)(uintptr_t)view, memory + gp_doubles(l->n))) return 0;
    pool p = {l, &improvement, layers, -1};
    if (size <= WHOLE)
        look_at_all(&p, size, spare);
    else
        look_at_some(&p, set->pool, 2, spare);
    return p.highest >= 0;
}

static aira_status learn(const instance *made, const aira_journal_view *view, int *chosen, uint16_t *layers) {
    const aira_host *host = made->host;
    uint64_t n = view->n_nodes, most = n < (uint64_t)made->set.train ? n : (uint64_t)made->set.train;
    uint64_t doubles = gp_doubles((uint32_t)most) + GP_DRAWS * most + 2 * most;
    lesson l = {.view = view};
    *chosen = 0;
    double *memory = host->alloc(host, doubles * sizeof *memory + most * sizeof *l.x + n * sizeof *l.ranked +
                                           view->n_layers * sizeof *layers + n + 1);
    if (!memory) return host->fail(host, AIRA_E_MEMORY, "scaffold bayes: out of memory");
    l.y = memory + doubles - 2 * most;
    l.weight = l.y + most;
    l.x = (const uint16_t **)(void *)(memory + doubles);
    l.ranked = (uint32_t *)(void *)(l.x + most);
    uint16_t *spare = (uint16_t *)(void *)(l.ranked + n);
    l.told = (uint8_t *)(spare + view->n_layers);
    rank(&l);
    if (l.n_good >= 2 && l.deviation > 0) {
        teach(&l, (uint32_t)most);
        *chosen = model(&l, &made->set, memory, spare, layers);
    }
    host->release(host, memory);
    return AIRA_OK;
}

static aira_status next(void *self, const aira_journal_view *view, aira_action *action) {
    const instance *made = self;
    int chosen = 0;
    aira_status status = AIRA_OK;
    if ((int64_t)view->n_nodes >= made->set.initial) status = learn(made, view, &chosen, action->layers);
    if (status != AIRA_OK) return status;
    action->act = AIRA_ACT_PROPOSE;
    action->operator_code = AIRA_OPERATOR_DRAFT;
    action->parent = action->other_parent = -1;
    action->reason = chosen ? "the highest expected improvement" : "drawn at random";
    if (!chosen && !space_draw_free(view, 0, action->layers) && space_size(view) <= SPACE_LISTED) {
        action->act = AIRA_ACT_STOP;
        action->reason = "every architecture was tried";
    }
    return AIRA_OK;
}

static const aira_scaffold table = {sizeof(aira_scaffold), AIRA_SCAFFOLD_PROPOSES, next};
static const aira_plugin plugin = {
    AIRA_PLUGIN_DESCRIPTOR("scaffold", aira_scaffold, &table, "bayes", "1.0.0",
                           "Gaussian process, noisy expected improvement; needs no agent", &schema),
    .create = create, .destroy = destroy};
AIRA_MANIFEST("scaffold", "bayes", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
