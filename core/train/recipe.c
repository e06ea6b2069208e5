/* core/train/recipe.c - reading recipes; see recipe.h.
 *
 * The keys are declared in the same tables that plugins use, so errors, defaults and canonical form come from
 * core/config. A preset changes defaults before the table is read, and an optimizer's afterwards.
 */
#include "core/train/recipe.h"

#include <math.h>
#include <string.h>

#include "aira/optimizer.h"

typedef struct recipe_config {
    int64_t batch, steps, epochs, tokens, eval_every, eval_rows, log_every, accumulate, metrics_every;
    double seconds, clip, early_stop;
    int32_t precision, recompute;
} recipe_config;

static const char *const precisions[] = {"fp32", "bf16", "fp64", NULL};
static const uint32_t precision_types[] = {AIRA_F32, AIRA_BF16, AIRA_F64};
static const char *const recomputes[] = {"none", "block", NULL};
static const char *const schedules[] = {"constant", "cosine", "trapezoid", NULL};

enum { EPOCHS_ROW = 2, STOP_ROW = 9 };

#define COUNT_ROW(S, M, def, doc) \
    { #M, doc, AIRA_T_COUNT, 0, (uint32_t)offsetof(S, M), 0, def, 0, 1e15, NULL, NULL }

static const aira_field recipe_fields[] = {
    COUNT_ROW(recipe_config, batch, 0, "sequences per step; 0: what the data set suggests"),
    COUNT_ROW(recipe_config, steps, 0, "length of the training in steps"),
    COUNT_ROW(recipe_config, epochs, 0, "length of the training in passes over a finite data set"),
    COUNT_ROW(recipe_config, tokens, 0, "length of the training in input tokens"),
    {"seconds", "length of the training in wall time; such a training is not reproducible", AIRA_T_DURATION, 0,
     (uint32_t)offsetof(recipe_config, seconds), 0, 0, 0, 1e9, NULL, NULL},
    AIRA_F_REAL(recipe_config, clip, 0, 0, 1e30, "largest norm of the whole gradient; 0: no clipping"),
    AIRA_F_CHOICE(recipe_config, precision, precisions, 0, "element type of activations"),
    COUNT_ROW(recipe_config, eval_every, 0, "steps between evaluations; 0: each epoch, 100 at least"),
    COUNT_ROW(recipe_config, eval_rows, 0, "rows evaluated per split; 0: all of a finite data set, else 1,280"),
    AIRA_F_REAL(recipe_config, early_stop, 0, 0, 1e30, "stop once the search score is this good; 0: never"),
    COUNT_ROW(recipe_config, log_every, 0, "steps between points of the curve; 0: about 200 points"),
    {"accumulate", "equal parts of a batch that run one after another; the step is that of the whole batch",
     AIRA_T_COUNT, 0, (uint32_t)offsetof(recipe_config, accumulate), 0, 1, 1, 1e6, NULL, NULL},
    {"metrics_every", "steps between readings of loss and gradient norm from the device", AIRA_T_COUNT, 0,
     (uint32_t)offsetof(recipe_config, metrics_every), 0, 1, 1, 1e15, NULL, NULL},
    AIRA_F_CHOICE(recipe_config, recompute, recomputes, 0,
                  "block: a block's backward computes the block's forward again, which saves its memory"),
};
#define N_RECIPE_FIELDS (sizeof recipe_fields / sizeof recipe_fields[0])

static const aira_field schedule_fields[] = {
    AIRA_F_CHOICE(aira__schedule, kind, schedules, 0, "course of the learning rate"),
    COUNT_ROW(aira__schedule, warmup, 0, "steps of linear rise at the start"),
    AIRA_F_REAL(aira__schedule, final, 0, 0, 1e3, "learning rate at the end (cosine, trapezoid)"),
    AIRA_F_REAL(aira__schedule, decay, 0.2, 0, 1, "share of the training spent falling (trapezoid)"),
};

typedef enum { PRESET_NONE, PRESET_MADLAB, PRESET_PAPER } preset;
static const char *const presets[] = {"none", "madlab", "paper"};

static const char *const accepted[] = {"preset",        "optimizer", "schedule",   "batch",     "steps",
                                       "epochs",        "tokens",    "seconds",    "clip",      "precision",
                                       "eval_every",    "eval_rows", "early_stop", "log_every", "accumulate",
                                       "metrics_every", "recompute", NULL};
static const char *const not_in_table[] = {"preset", "optimizer", "schedule", NULL};

static const aira__node *peek(const aira__node *map, const char *key) {
    for (int k = 0; map != NULL && map->kind == AIRA_NODE_MAP && k < map->n_items; k++) {
        if (strcmp(map->items[k]->key, key) == 0) return map->items[k];
    }
    return NULL;
}

static preset read_preset(aira__node *map, aira__diagnostics *d) {
    aira__node *node = aira__map_get(map, "preset");
    const char *name = aira__node_string(node, "none", d);
    for (int k = 0; k < 3; k++) {
        if (strcmp(presets[k], name) == 0) return (preset)k;
    }
    aira__diagnose(d, node, "unknown preset '%s'; there are none, madlab and paper", name);
    return PRESET_NONE;
}

/* --- optimizer --- */

static json_t *default_optimizer(double beta2, bool decay_all) {
    return json_pack("{s:s, s:f, s:f, s:f, s:f, s:f, s:b}", "use", "adamw", "lr", 5e-4, "beta1", 0.9, "beta2", beta2,
                     "eps", 1e-8, "weight_decay", 0.0, "decay_all", decay_all);
}

static aira__instance *from_json(aira__registry *registry, json_t *keys, const aira__node *place,
                                 aira__diagnostics *d) {
    aira_error error = {AIRA_OK, ""};
    aira__instance *made = NULL;
    if (keys == NULL) {
        aira__diagnose(d, place, "out of memory while reading a recipe");
    } else if (aira__instance_create_json(registry, "optimizer", keys, &made, &error) != AIRA_OK) {
        aira__diagnose(d, place, "%s", error.text);
    }
    json_decref(keys);
    return made;
}

/* The presets decay every parameter as mad-lab does, and `paper` has its own beta2; keys that are written win. */
static aira__instance *read_optimizer(aira__registry *registry, aira__node *map, preset p, aira__diagnostics *d) {
    aira__node *node = aira__map_get(map, "optimizer");
    double beta2 = p == PRESET_PAPER ? 0.98 : 0.999;
    if (node == NULL) return from_json(registry, default_optimizer(beta2, p != PRESET_NONE), map, d);
    aira__instance *made = aira__instance_create(registry, "optimizer", node, NULL, d);
    if (made == NULL || p == PRESET_NONE || strcmp(made->plugin->id, "adamw") != 0) return made;
    json_t *keys = json_copy(made->canonical);
    if (keys != NULL && p == PRESET_PAPER && peek(node, "beta2") == NULL) {
        json_object_set_new(keys, "beta2", json_real(beta2));
    }
    if (keys != NULL && peek(node, "decay_all") == NULL) json_object_set_new(keys, "decay_all", json_true());
    aira__instance_destroy(made);
    return from_json(registry, keys, node, d);
}

/* --- the rest --- */

static void store(const recipe_config *c, aira__recipe *recipe) {
    recipe->batch = c->batch;
    recipe->steps = c->steps;
    recipe->epochs = c->epochs;
    recipe->tokens = c->tokens;
    recipe->seconds = c->seconds;
    recipe->clip = c->clip;
    recipe->precision = precision_types[c->precision];
    recipe->eval_every = c->eval_every;
    recipe->eval_rows = c->eval_rows;
    recipe->early_stop = c->early_stop;
    recipe->log_every = c->log_every;
    recipe->accumulate = c->accumulate;
    recipe->metrics_every = c->metrics_every;
    recipe->recompute = c->recompute != 0;
}

static int bounds(const recipe_config *c) {
    return (c->steps > 0) + (c->epochs > 0) + (c->tokens > 0) + (c->seconds > 0);
}

/* A new object with everything; takes keys and schedule over. */
static json_t *whole(json_t *keys, json_t *schedule, const aira__instance *optimizer) {
    if (keys == NULL || schedule == NULL || json_object_set_new(keys, "schedule", schedule) != 0 ||
        json_object_set(keys, "optimizer", optimizer->canonical) != 0) {
        json_decref(keys);
        return NULL;
    }
    return keys;
}

static json_t *read_schedule(aira__node *map, preset p, aira__schedule *schedule, aira__diagnostics *d) {
    aira_field fields[sizeof schedule_fields / sizeof schedule_fields[0]];
    memcpy(fields, schedule_fields, sizeof fields);
    if (p == PRESET_PAPER) {
        fields[0].def = AIRA_SCHEDULE_COSINE;
        fields[2].def = 1e-6;
    }
    const aira_schema schema = AIRA_SCHEMA(aira__schedule, fields);
    aira__node *node = aira__map_get(map, "schedule");
    aira__filled *memory = NULL;
    json_t *keys = NULL;
    if (aira__schema_fill(&schema, node, NULL, schedule, &memory, &keys, d)) {
        const aira__node *final = peek(node, "final"), *decay = peek(node, "decay");
        if (final != NULL && schedule->kind == AIRA_SCHEDULE_CONSTANT) {
            aira__diagnose(d, final, "'final' has no effect with a constant schedule; set kind: cosine or trapezoid");
        }
        if (decay != NULL && schedule->kind != AIRA_SCHEDULE_TRAPEZOID) {
            aira__diagnose(d, decay, "'decay' has an effect with kind: trapezoid only");
        }
    }
    aira__filled_release(memory);
    return keys;
}

static json_t *read_keys(aira__node *map, preset p, recipe_config *config, aira__diagnostics *d) {
    aira_field fields[N_RECIPE_FIELDS];
    memcpy(fields, recipe_fields, sizeof fields);
    bool bounded = peek(map, "steps") || peek(map, "epochs") || peek(map, "tokens") || peek(map, "seconds");
    if (p != PRESET_NONE) {
        fields[0].def = 128;
        fields[EPOCHS_ROW].def = bounded ? 0 : 200;
        fields[STOP_ROW].def = 0.999;
    }
    const aira_schema schema = AIRA_SCHEMA(recipe_config, fields);
    aira__filled *memory = NULL;
    json_t *keys = NULL;
    if (aira__schema_fill(&schema, map, not_in_table, config, &memory, &keys, d) && bounds(config) != 1) {
        aira__diagnose(d, map, "a recipe needs exactly one of steps, epochs, tokens and seconds; here %s",
                       bounds(config) == 0 ? "there is none" : "there are several");
    }
    aira__filled_release(memory);
    return keys;
}

bool aira__recipe_read(aira__registry *registry, aira__node *map, aira__recipe *recipe, aira__diagnostics *d) {
    memset(recipe, 0, sizeof *recipe);
    if (map != NULL && map->kind != AIRA_NODE_MAP) {
        aira__diagnose(d, map, "a recipe is a mapping, e.g. {preset: madlab, steps: 100}");
        aira__node_mark_used(map);
        return false;
    }
    int before = aira__diagnostics_count(d);
    preset p = map == NULL ? PRESET_MADLAB : read_preset(map, d);
    recipe_config config = {0};
    json_t *keys = read_keys(map, p, &config, d);
    json_t *schedule = read_schedule(map, p, &recipe->schedule, d);
    recipe->optimizer = read_optimizer(registry, map, p, d);
    if (map != NULL) aira__map_finish(map, accepted, d);
    if (aira__diagnostics_count(d) != before) {
        json_decref(keys);
        json_decref(schedule);
        return false;
    }
    store(&config, recipe);
    recipe->canonical = whole(keys, schedule, recipe->optimizer);
    if (recipe->canonical == NULL) aira__diagnose(d, map, "out of memory while reading a recipe");
    return recipe->canonical != NULL;
}

aira_status aira__recipe_read_json(aira__registry *registry, const json_t *canonical, aira__recipe *recipe,
                                   aira_error *error) {
    memset(recipe, 0, sizeof *recipe);
    const aira_schema recipe_schema = AIRA_SCHEMA(recipe_config, recipe_fields);
    const aira_schema schedule_schema = AIRA_SCHEMA(aira__schedule, schedule_fields);
    recipe_config config = {0};
    aira__filled *memory = NULL;
    json_t *keys = json_copy((json_t *)(uintptr_t)canonical);
    if (keys == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory while reading a recipe");
    json_object_del(keys, "optimizer");
    json_object_del(keys, "schedule");
    aira_status status = aira__schema_fill_json(&recipe_schema, keys, &config, &memory, NULL, error);
    aira__filled_release(memory);
    json_decref(keys);
    if (status != AIRA_OK) return status;
    memory = NULL;
    status = aira__schema_fill_json(&schedule_schema, json_object_get(canonical, "schedule"), &recipe->schedule,
                                    &memory, NULL, error);
    aira__filled_release(memory);
    if (status != AIRA_OK) return status;
    if (bounds(&config) != 1) {
        return aira__fail(error, AIRA_E_CONFIG, "a recipe needs exactly one of steps, epochs, tokens and seconds");
    }
    store(&config, recipe);
    recipe->canonical = json_incref((json_t *)(uintptr_t)canonical);
    return aira__instance_create_json(registry, "optimizer", json_object_get(canonical, "optimizer"),
                                      &recipe->optimizer, error);
}

void aira__recipe_release(aira__recipe *recipe) {
    aira__instance_destroy(recipe->optimizer);
    json_decref(recipe->canonical);
    recipe->optimizer = NULL;
    recipe->canonical = NULL;
}

double aira__schedule_rate(const aira__schedule *s, double base, int64_t step, int64_t total, double progress) {
    if (step < s->warmup) return base * (double)(step + 1) / (double)s->warmup;
    if (s->kind == AIRA_SCHEDULE_CONSTANT) return base;
    double done = progress;
    if (total > 0) {
        int64_t after = total - s->warmup;
        done = after > 0 ? (double)(step - s->warmup) / (double)after : 1;
    }
    done = done < 0 ? 0 : done > 1 ? 1 : done;
    if (s->kind == AIRA_SCHEDULE_COSINE) return s->final + (base - s->final) * 0.5 * (1 + cos(M_PI * done));
    double left = (1 - done) / (s->decay > 0 ? s->decay : 1e-300);
    return left >= 1 ? base : s->final + (base - s->final) * left;
}

int64_t aira__recipe_steps(const aira__recipe *recipe, int64_t batch, int64_t rows, int64_t length) {
    if (recipe->steps > 0) return recipe->steps;
    if (recipe->epochs > 0) return recipe->epochs * (rows > 0 ? (rows + batch - 1) / batch : 1);
    if (recipe->tokens > 0) return (recipe->tokens + batch * length - 1) / (batch * length);
    return 0;
}
