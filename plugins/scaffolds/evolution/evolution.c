/* plugins/scaffolds/evolution/evolution.c - populations on islands: drafts, then children of fit parents.
 *
 * One decision, in this order:
 *   1. a node that broke is repaired, up to `debug_depth` times in a row; the first repair that works stands for it;
 *   2. fewer drafts than `individuals` on every island: draft (the k-th draft lives on island k mod `islands`);
 *   3. nobody lives: draft again;
 *   4. an island by softmax of its mean fitness, on it a parent by softmax of fitness (or by tournament): improve; or,
 *      with probability `crossover` from the second generation on, two parents: crossover. Where only one lives there,
 *      improve. With probability `migration` the second parent is one of another island.
 * Fitness is the score, scaled to 0..1 over all good nodes, 1 being the best.
 *
 * Who lives: every good draft; every later good node that is at least as good as its island's mean was when it came
 * (`admit: average`) or without that condition (`admit: all`). Above `capacity` the worst, or the oldest, dies. A child
 * lives where its parent lived. `individuals` children of all islands together count as one generation.
 *
 * The presets: `aira` (5 individuals, softmax, crossover 0.5, average, worst) and `regularised` (regularised evolution:
 * 8 individuals, tournament of 3, no crossover, all, oldest dies above 8).
 *
 * Pure: the populations are rebuilt from the journal at every decision, so nothing has to be saved or restored. Pending
 * nodes are nobody's parents; rule 3 waits for them.
 */
#include <math.h>

#include "aira/scaffold.h"

enum { AIRA, REGULARISED };
enum { BY_PRESET, SOFTMAX, TOURNAMENT };
enum { AVERAGE = 1, ALL };
enum { WORST = 1, OLDEST };

typedef struct evolution {
    int32_t preset, selection, admit, evict;
    int64_t individuals, islands, capacity, tournament, debug_depth;
    double crossover, migration, temperature;
} evolution;

static const char *const preset_names[] = {"aira", "regularised", NULL};
static const char *const selections[] = {"preset", "softmax", "tournament", NULL};
static const char *const admissions[] = {"preset", "average", "all", NULL};
static const char *const evictions[] = {"preset", "worst", "oldest", NULL};

static const aira_field fields[] = {
    AIRA_F_CHOICE(evolution, preset, preset_names, AIRA, "where unset keys come from: aira or regularised"),
    AIRA_F_INT(evolution, individuals, 0, 0, 1000000, "drafts of an island, children of a generation; 0: the preset's"),
    AIRA_F_INT(evolution, islands, 1, 1, 64, "populations that breed apart"),
    AIRA_F_INT(evolution, capacity, 0, 0, 1000000, "nodes that live on an island; 0: the preset's"),
    AIRA_F_CHOICE(evolution, selection, selections, BY_PRESET, "how parents are chosen"),
    AIRA_F_INT(evolution, tournament, 0, 0, 1000000, "nodes drawn for a tournament, the best wins; 0: the preset's"),
    AIRA_F_REAL(evolution, temperature, 1, 1e-3, 1e6, "of the softmax over fitness in 0..1: lower is greedier"),
    AIRA_F_REAL(evolution, crossover, -1, -1, 1, "chance of a child with two parents; -1: the preset's"),
    AIRA_F_REAL(evolution, migration, 0, 0, 1, "chance that the second parent lives on another island"),
    AIRA_F_CHOICE(evolution, admit, admissions, BY_PRESET, "which children live"),
    AIRA_F_CHOICE(evolution, evict, evictions, BY_PRESET, "who dies above capacity"),
    AIRA_F_INT(evolution, debug_depth, 10, 0, 1000000, "repairs in a row of a node that broke; 0: none"),
};
static const aira_schema schema = AIRA_SCHEMA(evolution, fields);

typedef struct instance {
    const aira_host *host;
    evolution set; /* without "the preset's" */
} instance;

static aira_status create(const aira_host *host, const void *config, void **self) {
    static const evolution presets[] = {
        {.individuals = 5, .capacity = 500, .selection = SOFTMAX, .crossover = 0.5, .admit = AVERAGE, .evict = WORST},
        {.individuals = 8, .capacity = 8, .selection = TOURNAMENT, .crossover = 0, .admit = ALL, .evict = OLDEST},
    };
    instance *made = host->alloc(host, sizeof *made);
    if (!made) return host->fail(host, AIRA_E_MEMORY, "scaffold evolution: out of memory");
    evolution *s = &made->set;
    *s = *(const evolution *)config;
    const evolution *p = &presets[s->preset == REGULARISED];
    made->host = host;
    if (s->individuals == 0) s->individuals = p->individuals;
    if (s->capacity == 0) s->capacity = p->capacity;
    if (s->tournament == 0) s->tournament = 3;
    if (s->crossover < 0) s->crossover = p->crossover;
    if (s->selection == BY_PRESET) s->selection = p->selection;
    if (s->admit == BY_PRESET) s->admit = p->admit;
    if (s->evict == BY_PRESET) s->evict = p->evict;
    *self = made;
    return AIRA_OK;
}

static void destroy(void *self) {
    instance *made = self;
    if (made) made->host->release(made->host, made);
}

/* ---- populations ---- */

typedef struct island {
    int64_t n;            /* that live */
    double sum;           /* of their scores */
    uint32_t first, last; /* 1 + index, in the order of coming; 0: none */
} island;

typedef struct world {
    const evolution *set;
    const aira_journal_view *view;
    uint32_t *home;    /* island of each node */
    uint32_t *next;    /* 1 + who came after it and lives there, or 0 */
    uint8_t *founding; /* a draft, or a repair of one */
    island *islands;
    double low, high; /* scores of good nodes */
    int64_t drafts, children, alive, pending;
} world;

static double score_of(const world *w, uint32_t i) { return aira_view_node(w->view, i)->score; }

static double fitness(const world *w, double score) {
    double range = w->high - w->low;
    double up = range > 0 ? (score - w->low) / range : 0.5;
    return w->view->higher_is_better ? up : 1 - up;
}

static int is_better(const world *w, double a, double b) { return w->view->higher_is_better ? a > b : a < b; }

static void evict(world *w, island *at) {
    uint32_t who = at->first, before = 0, previous = 0;
    for (uint32_t i = at->first; i && w->set->evict == WORST; previous = i, i = w->next[i - 1])
        if (is_better(w, score_of(w, who - 1), score_of(w, i - 1))) {
            who = i;
            before = previous;
        }
    *(before ? &w->next[before - 1] : &at->first) = w->next[who - 1];
    if (at->last == who) at->last = before;
    at->n--;
    at->sum -= score_of(w, who - 1);
    w->alive--;
}

/* A good node comes to its island. */
static void arrive(world *w, uint32_t i, double score) {
    island *at = &w->islands[w->home[i]];
    int welcome = w->founding[i] || w->set->admit == ALL || at->n == 0 || !is_better(w, at->sum / (double)at->n, score);
    w->low = fmin(w->low, score);
    w->high = fmax(w->high, score);
    if (!welcome) return;
    *(at->last ? &w->next[at->last - 1] : &at->first) = i + 1;
    at->last = i + 1;
    at->n++;
    at->sum += score;
    w->alive++;
    if (at->n > w->set->capacity) evict(w, at);
}

static void live_through(world *w) {
    w->low = INFINITY;
    w->high = -INFINITY;
    for (uint32_t i = 0; i < w->view->n_nodes; i++) {
        const aira_node_view *node = aira_view_node(w->view, i);
        int draft = node->operator_code == AIRA_OPERATOR_DRAFT || node->parent < 0;
        int debug = node->operator_code == AIRA_OPERATOR_DEBUG;
        w->home[i] = draft ? (uint32_t)(w->drafts % w->set->islands) : w->home[node->parent];
        w->founding[i] = (uint8_t)(draft || (debug && w->founding[node->parent]));
        w->drafts += draft;
        w->children += !draft && !debug;
        w->pending += node->status == AIRA_NODE_PENDING;
        if (node->status == AIRA_NODE_GOOD && !isnan(node->score)) arrive(w, i, node->score);
    }
}

/* ---- choices ---- */

static int64_t choose_island(const world *w) {
    double total = 0, weight[64];
    for (int64_t k = 0; k < w->set->islands; k++) {
        const island *at = &w->islands[k];
        weight[k] = at->n ? exp(fitness(w, at->sum / (double)at->n) / w->set->temperature) : 0;
        total += weight[k];
    }
    double left = w->view->draw(w->view, 1) * total;
    int64_t chosen = -1;
    for (int64_t k = 0; k < w->set->islands && left >= 0; k++) {
        if (w->islands[k].n == 0) continue;
        chosen = k;
        left -= weight[k];
    }
    return chosen;
}

/* Those who may be chosen: on island `at` (or, outside, on any other one), but not `but`. */
typedef struct choice {
    int64_t at, but;
    int outside;
} choice;

/* The member after `i` (both 1 + index; 0: begin, end); *k is its island. */
static uint32_t after(const world *w, const choice *c, int64_t *k, uint32_t i) {
    if (i == 0) *k = -1;
    for (i = i ? w->next[i - 1] : 0;; i = w->next[i - 1]) {
        while (i == 0 && ++*k < w->set->islands)
            if ((*k == c->at) != c->outside) i = w->islands[*k].first;
        if (i == 0 || (int64_t)i - 1 != c->but) return i;
    }
}

static double weight_of(const world *w, uint32_t i) {
    return w->set->selection == TOURNAMENT ? 1 : exp(fitness(w, score_of(w, i)) / w->set->temperature);
}

/* -1 where there is none. Draws from `which` on. */
static int64_t choose_parent(const world *w, const choice *c, uint32_t which) {
    int64_t chosen = -1, k = 0, rounds = w->set->selection == TOURNAMENT ? w->set->tournament : 1;
    double total = 0;
    for (uint32_t i = 0; (i = after(w, c, &k, i));) total += weight_of(w, i - 1);
    for (int64_t round = 0; total > 0 && round < rounds; round++) {
        double left = w->view->draw(w->view, which + (uint32_t)round) * total;
        int64_t pick = -1;
        for (uint32_t i = 0; left >= 0 && (i = after(w, c, &k, i));) {
            pick = (int64_t)i - 1;
            left -= weight_of(w, i - 1);
        }
        if (chosen < 0 || is_better(w, score_of(w, (uint32_t)pick), score_of(w, (uint32_t)chosen))) chosen = pick;
    }
    return chosen;
}

static void ask(aira_action *action, uint32_t operator_code, int64_t parent, int64_t other, const char *reason) {
    action->act = AIRA_ACT_ASK;
    action->operator_code = operator_code;
    action->parent = parent;
    action->other_parent = other;
    action->reason = reason;
}

static void wait(aira_action *action, const char *reason) {
    action->act = AIRA_ACT_WAIT;
    action->reason = reason;
}

static void breed(const world *w, aira_action *action) {
    const aira_journal_view *view = w->view;
    choice here = {choose_island(w), -1, 0};
    int64_t parent = choose_parent(w, &here, 1000), other = -1;
    int second = w->children >= w->set->individuals; /* the generation of this child */
    if (second && view->draw(view, 2) < w->set->crossover) {
        choice there = {here.at, parent, 1};
        here.but = parent;
        if (view->draw(view, 3) < w->set->migration) other = choose_parent(w, &there, 2000000);
        if (other < 0) other = choose_parent(w, &here, 2000000);
    }
    if (other >= 0)
        ask(action, AIRA_OPERATOR_CROSSOVER, parent, other, "two parents, the fitter the likelier");
    else
        ask(action, AIRA_OPERATOR_IMPROVE, parent, -1, "a parent, the fitter the likelier");
}

static void decide(const world *w, aira_action *action) {
    const aira_journal_view *view = w->view;
    for (uint32_t i = 0; i < view->n_nodes; i++) {
        const aira_node_view *node = aira_view_node(view, i);
        if (node->status != AIRA_NODE_BUGGY || node->n_children || node->debug_depth >= w->set->debug_depth) continue;
        ask(action, AIRA_OPERATOR_DEBUG, i, -1, "a broken node is repaired");
        return;
    }
    if (w->drafts < w->set->individuals * w->set->islands)
        ask(action, AIRA_OPERATOR_DRAFT, -1, -1, "the first generation");
    else if (w->alive)
        breed(w, action);
    else if (!w->pending)
        ask(action, AIRA_OPERATOR_DRAFT, -1, -1, "nobody lives");
    else
        wait(action, "nobody lives yet");
}

static aira_status next(void *self, const aira_journal_view *view, aira_action *action) {
    const instance *made = self;
    const aira_host *host = made->host;
    uint64_t n = view->n_nodes;
    world w = {.set = &made->set, .view = view};
    w.islands = host->alloc(host, (uint64_t)made->set.islands * sizeof *w.islands + n * (2 * sizeof *w.home + 1));
    if (!w.islands) return host->fail(host, AIRA_E_MEMORY, "scaffold evolution: out of memory");
    w.home = (uint32_t *)(void *)(w.islands + made->set.islands);
    w.next = w.home + n;
    w.founding = (uint8_t *)(w.next + n);
    live_through(&w);
    decide(&w, action);
    host->release(host, w.islands);
    return AIRA_OK;
}

static const aira_scaffold table = {sizeof(aira_scaffold), 0, next};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("scaffold", aira_scaffold, &table, "evolution", "1.0.0",
                                                          "Populations: drafts, then children of fit parents", &schema),
                                   .create = create, .destroy = destroy};
AIRA_MANIFEST("scaffold", "evolution", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
