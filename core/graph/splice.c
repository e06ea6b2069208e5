/* core/graph/splice.c - see splice.h. */
#include "core/graph/splice.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "aira/rng.h"
#include "core/graph/internal.h"

#define MAX_PARAMETERS ((double)((int64_t)1 << 32))
#define MAX_INITIAL_COST ((double)((int64_t)1 << 28))
#define MAX_NAME 160u

/* --- checking
 * --------------------------------------------------------------------------------------------------------- */

static bool plain_name(const char *name) {
    size_t n = strlen(name);
    for (size_t k = 0; k < n; k++)
        if (!isalnum((unsigned char)name[k]) && strchr("_.-", name[k]) == NULL) return false;
    return n > 0 && n <= MAX_NAME;
}

static aira_status check_ops(const aira_graph *g, aira_error *error) {
    for (uint32_t k = 0; k < g->n_ops; k++) {
        const aira__op *op = g->ops[k];
        const char *name = aira__op_name(op->code);
        if (aira__op_class(op->code) == AIRA_CLASS_EFFECT || strstr(name, "BACKWARD") != NULL || op->block != 0 ||
            op->backward != 0)
            return aira__fail(error, AIRA_E_CORRUPT, "operation %u (%s) is none that a build function can make", k,
                              name);
        for (uint32_t a = 0; a < op->n_f; a++)
            if (isnan(op->f[a]))
                return aira__fail(error, AIRA_E_CORRUPT, "operation %u (%s) has a number that is not one", k, name);
    }
    return AIRA_OK;
}

static aira_status check_inputs(const aira_graph *g, const aira_shape *x, aira_error *error) {
    bool has_x = false;
    for (uint32_t k = 0; k < g->n_inputs; k++) {
        const char *name = g->inputs[k].name;
        const aira_tensor *t = g->inputs[k].tensor;
        if (strcmp(name, "x") == 0) {
            has_x = true;
            if (!aira__shape_equal(&t->shape, x))
                return aira__fail(error, AIRA_E_CORRUPT, "its x has another shape than the x that it was given");
        } else if (strcmp(name, "draw") == 0) {
            if (t->dtype != AIRA_I32 || t->shape.rank != 0)
                return aira__fail(error, AIRA_E_CORRUPT, "its draw number is no scalar");
        } else if (strncmp(name, "ctx.", 4) != 0) {
            return aira__fail(error, AIRA_E_CORRUPT, "it has an input that it was not given");
        }
        for (uint32_t other = 0; other < k; other++)
            if (strcmp(g->inputs[other].name, name) == 0)
                return aira__fail(error, AIRA_E_CORRUPT, "it has the input '%.40s' twice", name);
    }
    return has_x ? AIRA_OK : aira__fail(error, AIRA_E_CORRUPT, "it has no input x");
}

/* How many element evaluations an initial value takes: shared terms are evaluated again, as initial.c does. */
static aira_status check_initial_cost(const aira_graph *g, aira_error *error) {
    double *cost = calloc((size_t)g->n_tensors + 1, sizeof *cost), whole = 0;
    if (cost == NULL) return aira__fail(error, AIRA_E_MEMORY, "out of memory while checking a graph");
    for (uint32_t k = 0; k < g->n_ops; k++) {
        const aira__op *op = g->ops[k];
        double sum = 0;
        for (uint32_t a = 0; a < op->n_in; a++) sum += cost[op->in[a]->id];
        for (uint32_t a = 0; a < op->n_out; a++)
            cost[op->out[a]->id] = sum + (double)aira__shape_elements(&op->out[a]->shape);
    }
    for (uint32_t k = 0; k < g->n_variables; k++)
        if (g->variables[k]->value != NULL) whole += cost[g->variables[k]->value->id];
    free(cost);
    if (whole <= MAX_INITIAL_COST) return AIRA_OK;
    return aira__fail(error, AIRA_E_FAILED, "its initial values take %.2g evaluations, at most %.2g are possible",
                      whole, MAX_INITIAL_COST);
}

static aira_status check_variables(const aira_graph *g, aira_error *error) {
    double elements = 0;
    for (uint32_t k = 0; k < g->n_variables; k++) {
        const aira__variable *v = g->variables[k];
        const double numbers[] = {v->a, v->b, v->init_mult, v->lr_mult, v->decay_mult};
        if (v->kind != AIRA_VARIABLE_PARAM || !plain_name(v->name) || strlen(v->role) > MAX_NAME)
            return aira__fail(error, AIRA_E_CORRUPT, "parameter %u has a name of other letters than a-z 0-9 _ . -", k);
        if (v->flags & ~(AIRA_PARAM_FP32 | AIRA_PARAM_NO_DECAY | AIRA_PARAM_NO_REINIT | AIRA_PARAM_FROZEN))
            return aira__fail(error, AIRA_E_CORRUPT, "parameter '%s' has an unknown flag", v->name);
        for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++)
            if (!isfinite(numbers[n]))
                return aira__fail(error, AIRA_E_FAILED, "parameter '%s' has a number that is not finite", v->name);
        elements += (double)aira__shape_elements(&v->shape);
    }
    if (elements > MAX_PARAMETERS)
        return aira__fail(error, AIRA_E_FAILED, "it has %.3g parameters, at most %.3g are possible", elements,
                          MAX_PARAMETERS);
    return check_initial_cost(g, error);
}

static aira_status check_names(const aira__part *part, aira_error *error) {
    const aira_graph *g = part->graph;
    for (uint32_t k = 0; k < g->n_outputs; k++) {
        const char *name = g->outputs[k].name;
        bool known = strcmp(name, "y") == 0 || strncmp(name, "aux.", 4) == 0 || strncmp(name, "metric.", 7) == 0;
        if (!known || !plain_name(name)) return aira__fail(error, AIRA_E_CORRUPT, "it has an unknown output");
    }
    for (uint32_t k = 0; k < part->n_aux; k++)
        if (!plain_name(part->aux[k]) || !isfinite(part->weights[k]))
            return aira__fail(error, AIRA_E_CORRUPT, "an auxiliary loss has no plain name or no finite weight");
    for (uint32_t k = 0; k < part->n_drawn; k++)
        if (!plain_name(part->drawn[k].name) || part->drawn[k].op >= g->n_ops ||
            g->ops[part->drawn[k].op]->code != AIRA_OP_RANDOM || (k > 0 && part->drawn[k].op <= part->drawn[k - 1].op))
            return aira__fail(error, AIRA_E_CORRUPT, "a random value has no plain name");
    return AIRA_OK;
}

aira_status aira__part_check(const aira__part *part, const aira_shape *x, aira_error *error) {
    const aira_graph *g = part->graph;
    const aira_tensor *y = aira__graph_find_output(g, "y");
    aira_status status = check_ops(g, error);
    if (status == AIRA_OK) status = check_inputs(g, x, error);
    if (status == AIRA_OK) status = check_variables(g, error);
    if (status == AIRA_OK) status = check_names(part, error);
    if (status == AIRA_OK && (y == NULL || g->n_blocks != 0))
        status = aira__fail(error, AIRA_E_CORRUPT, "it has no output y");
    return status;
}

/* --- splicing
 * --------------------------------------------------------------------------------------------------------- */

typedef struct splice {
    aira_graph *into;
    const aira__part *part;
    aira_tensor **made; /* by the part's tensor ids */
    uint32_t next_drawn;
} splice;

/* A part that was built for bf16 fits every compute type: its bf16 is the compute type, its f32 the storage type. */
static uint32_t mapped(const splice *s, uint32_t type) {
    const aira_graph *part = s->part->graph;
    if (type == part->compute_dtype) return s->into->compute_dtype;
    return type == part->storage_dtype ? s->into->storage_dtype : type;
}

static aira_tensor *input(splice *s, const aira__input *in, aira_tensor *x) {
    aira_graph *g = s->into;
    aira_tensor *t = strcmp(in->name, "x") == 0 ? x : NULL;
    if (strcmp(in->name, "draw") == 0) t = aira__graph_draw_number(g);
    if (strncmp(in->name, "ctx.", 4) == 0) {
        aira__asked question = {in->name + 4, true, false, 0};
        t = aira__graph_place(g, &question);
    }
    uint32_t wanted = mapped(s, in->tensor->dtype);
    bool same = t != NULL && (t->dtype == AIRA_I32) == (wanted == AIRA_I32) &&
                aira__shape_equal(&t->shape, &in->tensor->shape);
    return same ? aira__to_type(g, t, wanted) : NULL; /* an error only where it is used */
}

static aira_tensor *param(splice *s, const aira__variable *v) {
    const aira_param_info info = {.size = sizeof info,
                                  .flags = v->flags,
                                  .init = v->init,
                                  .a = v->a,
                                  .b = v->b,
                                  .value = v->value != NULL ? s->made[v->value->id] : NULL,
                                  .role = v->role,
                                  .lr_mult = v->lr_mult,
                                  .decay_mult = v->decay_mult,
                                  .init_mult = v->init_mult};
    if (v->value != NULL && info.value == NULL)
        return aira__graph_fail(s->into, AIRA_E_CORRUPT, "an initial value comes after its parameter");
    const aira__variable *made = aira__graph_add_variable(s->into, aira__graph_full_name(s->into, v->name),
                                                          AIRA_VARIABLE_PARAM, &v->shape, &info);
    return made != NULL ? made->leaf : NULL;
}

/* The key of a random value holds the name of its place. */
static aira_tensor *draw(splice *s, uint32_t index, aira_tensor *const *in) {
    const aira__op *op = s->part->graph->ops[index];
    const aira__drawn *d = s->part->drawn + s->next_drawn;
    if (s->next_drawn >= s->part->n_drawn || d->op != index || op->n_i != 2)
        return aira__graph_fail(s->into, AIRA_E_CORRUPT, "a random value has no name");
    s->next_drawn++;
    char *full = aira__graph_full_name(s->into, d->name);
    if (full == NULL) return NULL;
    const int64_t i[2] = {op->i[0], (int64_t)aira_key(0, full)};
    return aira__graph_emit(s->into, op->code, in, op->n_in, i, 2, NULL, 0, &op->out[0]->shape,
                            mapped(s, op->out[0]->dtype));
}

static bool copy_op(splice *s, uint32_t index, aira_tensor *x) {
    const aira_graph *g = s->part->graph;
    const aira__op *op = g->ops[index];
    aira_tensor **in = aira__graph_alloc(s->into, (op->n_in + 1) * sizeof *in), *made;
    if (in == NULL) return false;
    for (uint32_t k = 0; k < op->n_in; k++) {
        in[k] = s->made[op->in[k]->id];
        if (in[k] != NULL) continue;
        aira__graph_fail(s->into, AIRA_E_FAILED,
                         "this was built for a place that offers x or a tensor of another type");
        return false;
    }
    if (op->code == AIRA_OP_INPUT) s->made[op->out[0]->id] = input(s, &g->inputs[op->i[0]], x);
    if (op->code == AIRA_OP_INPUT) return true;
    uint32_t type = op->n_out ? mapped(s, op->out[0]->dtype) : 0;
    if (op->code == AIRA_OP_CAST && op->n_i == 0 && in[0]->dtype == type)
        made = in[0]; /* a cast between types that are one here */
    else if (op->code == AIRA_OP_PARAM)
        made = param(s, g->variables[op->i[0]]);
    else if (op->code == AIRA_OP_RANDOM)
        made = draw(s, index, in);
    else
        made = aira__graph_emit(s->into, op->code, in, op->n_in, op->i, op->n_i, op->f, op->n_f,
                                op->n_out ? &op->out[0]->shape : NULL, type);
    if (made == NULL) return false;
    s->made[op->out[0]->id] = made;
    for (uint32_t k = 1; k < op->n_out; k++) s->made[op->out[k]->id] = s->into->ops[made->op]->out[k];
    return true;
}

/* What ops->param returned: the leaf or its cast. */
static void name_tensors(splice *s) {
    const aira_graph *g = s->part->graph;
    for (uint32_t k = 0; k < g->n_variables; k++) {
        aira_tensor *leaf = s->made[g->variables[k]->leaf->id];
        aira__variable *v = s->into->variables[s->into->ops[leaf->op]->i[0]];
        v->tensor = s->made[g->variables[k]->tensor->id];
    }
}

static void say(splice *s) {
    const aira_graph *g = s->part->graph;
    const aira_ops *ops = aira__graph_ops();
    for (uint32_t k = 0; k < s->part->n_aux; k++) {
        char name[MAX_NAME + 8] = "aux.";
        strncat(name, s->part->aux[k], MAX_NAME);
        const aira_tensor *scalar = aira__graph_find_output(g, name);
        if (scalar == NULL)
            aira__graph_fail(s->into, AIRA_E_CORRUPT, "the auxiliary loss '%s' has no value", s->part->aux[k]);
        else
            ops->aux_loss(s->into, s->part->aux[k], s->made[scalar->id], s->part->weights[k]);
    }
    for (uint32_t k = 0; k < g->n_outputs; k++)
        if (strncmp(g->outputs[k].name, "metric.", 7) == 0) /* NULL operands are passed over */
            ops->metric(s->into, g->outputs[k].name + 7, s->made[g->outputs[k].tensor->id]);
}

aira_tensor *aira__graph_splice(aira_graph *into, const aira__part *part, aira_tensor *x) {
    const aira_graph *g = part->graph;
    if (into->status != AIRA_OK) return NULL;
    if (g->compute_dtype != into->compute_dtype && g->compute_dtype != AIRA_BF16)
        return aira__graph_fail(into, AIRA_E_FAILED, "this was built for another compute type");
    splice s = {into, part, aira__graph_alloc(into, ((size_t)g->n_tensors + 1) * sizeof *s.made), 0};
    if (s.made == NULL) return NULL;
    for (uint32_t k = 0; k < g->n_ops; k++)
        if (!copy_op(&s, k, x)) return NULL;
    name_tensors(&s);
    say(&s);
    aira_tensor *y = s.made[aira__graph_find_output(g, "y")->id];
    return into->status == AIRA_OK ? y : NULL;
}
