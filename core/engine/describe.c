/* core/engine/describe.c - a plan as text, one line per step, for `--explain`, tests and people. */
#include <stdio.h>
#include <stdlib.h>

#include "core/engine/plan.h"

static const char *const storage_names[] = {"arena", "var", "io", "chain"};

static void print_tensor(FILE *out, const aira_plan *table, uint32_t id) {
    const aira_plan_tensor *t = &table->tensors[id];
    char shape[128];
    aira__shape_text(&t->shape, shape, sizeof shape);
    fprintf(out, " %%%u:%s%s@%s", id, aira__dtype_name(t->dtype), shape, storage_names[t->storage]);
    if (t->storage != AIRA_STORE_CHAIN) fprintf(out, "+%llu", (unsigned long long)t->offset);
    if (t->copies > 1) fprintf(out, "x%u", t->copies);
}

static void print_step(FILE *out, const aira_plan *table, const aira_plan_step *step, const char *indent) {
    fprintf(out, "%s%s", indent, aira__op_name(step->op));
    for (uint32_t k = 0; k < step->n_i; k++) fprintf(out, " i%u=%lld", k, (long long)step->i[k]);
    for (uint32_t k = 0; k < step->n_f; k++) fprintf(out, " f%u=%g", k, step->f[k]);
    fputs(" (", out);
    for (uint32_t k = 0; k < step->n_in; k++) print_tensor(out, table, step->in[k]);
    fputs(" ) ->", out);
    for (uint32_t k = 0; k < step->n_out; k++) print_tensor(out, table, step->out[k]);
    if (step->block > 0) fprintf(out, "  block %u%s", step->block - 1, step->backward ? " backward" : "");
    fputc('\n', out);
    for (uint32_t k = 0; k < step->n_chain; k++) print_step(out, table, &step->chain[k], "      ");
}

char *aira__plan_describe(const aira__plan *plan) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (out == NULL) return NULL;
    const aira_plan *table = &plan->table;
    fprintf(out, "%u steps, %u tensors, %u copies; arena %llu, variables %llu, io %llu bytes\n", table->n_steps,
            table->n_tensors, table->copies, (unsigned long long)table->bytes[AIRA_STORE_ARENA],
            (unsigned long long)table->bytes[AIRA_STORE_PERSISTENT], (unsigned long long)table->bytes[AIRA_STORE_IO]);
    for (uint32_t s = 0; s < table->n_steps; s++) {
        char number[16];
        snprintf(number, sizeof number, "%4u  ", s);
        print_step(out, table, &table->steps[s], number);
    }
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}
