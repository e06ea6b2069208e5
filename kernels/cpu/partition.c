/* partition.c - which steps can run for a part of their leading axis, and what each operand then is.
 *
 * Most ops are a row of a table: one letter per operand and result, p: part, w: whole, s: summed over units. The last
 * letter before > serves all further operands.
 */
#include <string.h>

#include "blocks.h"

#define MAX_SUMMED 4096   /* elements of a result that is summed over units */
#define LEAST_SUMMED 1024 /* elements of a unit: less is not worth a sum of its own */

static const struct {
    uint32_t op;
    const char *pattern;
} table[] = {
    {AIRA_OP_CUMSUM, "p>p"},
    {AIRA_OP_GATHER, "wp>p"},
    {AIRA_OP_SCATTER_ADD, "pp>s"},
    {AIRA_OP_GATHER_LAST, "pp>p"},
    {AIRA_OP_SCATTER_LAST, "pp>p"},
    {AIRA_OP_TOP_K, "p>pp"},
    {AIRA_OP_ARGSORT, "p>p"},
    {AIRA_OP_RMS_NORM, "pw>p"},
    {AIRA_OP_RMS_NORM_BACKWARD, "pwp>ps"},
    {AIRA_OP_LAYER_NORM, "pww>p"},
    {AIRA_OP_LAYER_NORM_BACKWARD, "pwwp>pss"},
    {AIRA_OP_SOFTMAX, "p>p"},
    {AIRA_OP_SOFTMAX_BACKWARD, "pp>p"},
    {AIRA_OP_CROSS_ENTROPY, "pp>p"},
    {AIRA_OP_CROSS_ENTROPY_BACKWARD, "ppp>p"},
    {AIRA_OP_ATTENTION, "p>pp"},
    {AIRA_OP_ATTENTION_BACKWARD, "p>ppp"},
    {AIRA_OP_ROPE, "p>p"},
    {AIRA_OP_CONV1D_CAUSAL, "pww>p"},
    {AIRA_OP_CONV1D_CAUSAL_BACKWARD, "pwp>pss"},
    {AIRA_OP_SELECTIVE_SCAN, "ppwppw>p"},
    {AIRA_OP_SELECTIVE_SCAN_BACKWARD, "ppwppwp>ppspps"},
    {AIRA_OP_SSD, "ppwppw>p"},
    {AIRA_OP_SSD_BACKWARD, "ppwppwp>ppspps"},
};

static cpu_share share_of(char letter) { return letter == 'p' ? CPU_PART : letter == 's' ? CPU_SUMMED : CPU_WHOLE; }

static bool by_pattern(const char *pattern, const cpu_step *step, cpu_share *shares) {
    const char *results = strchr(pattern, '>') + 1;
    for (uint32_t k = 0; k < step->n_in; k++) {
        if (pattern[0] == '>') return false;
        shares[k] = share_of(pattern[0]);
        if (pattern[1] != '>') pattern++;
    }
    for (uint32_t k = 0; k < step->n_out; k++) {
        if (results[k] == '\0') return false;
        shares[step->n_in + k] = share_of(results[k]);
    }
    return true;
}

static void all(const cpu_step *step, cpu_share *shares) {
    for (uint32_t k = 0; k < step->n_in + step->n_out; k++) shares[k] = CPU_PART;
}

static bool matmul(const aira_plan *plan, const cpu_step *step, cpu_share *shares) {
    uint32_t rank_a = cpu_tensor(plan, step->in[0])->shape.rank, rank_b = cpu_tensor(plan, step->in[1])->shape.rank;
    const aira_shape *a = &cpu_tensor(plan, step->in[0])->shape, *out = &cpu_tensor(plan, step->out[0])->shape;
    int64_t inner = a->dims[rank_a - (step->step->i[0] ? 2 : 1)], rows = cpu_extent(out, 0, out->rank - 1);
    /* kernels may split a long inner extent where there are few rows, so that parts would sum in another order */
    if (inner >= 2048 && rows < 16384) return false;
    all(step, shares);
    if (rank_b > 2) return rank_a == rank_b;
    shares[1] = CPU_WHOLE;
    return rank_a > 2 || step->step->i[0] == 0;
}

/* Elementwise: an operand is a part unless it is broadcast along the leading axis. */
static bool chain(const aira_plan *plan, const cpu_step *step, cpu_share *shares) {
    const aira_shape *over = cpu_chain_shape(step->chain);
    for (uint32_t k = 0; k < step->n_in; k++) {
        const aira_shape *shape = &cpu_tensor(plan, step->in[k])->shape;
        bool part = over->rank > 0 && shape->rank == over->rank && shape->dims[0] == over->dims[0];
        if (!part && (cpu_chain_uses(step->chain, k) & CPU_WRITES)) return false;
        shares[k] = part ? CPU_PART : CPU_WHOLE;
    }
    return true;
}

static bool shares_of(const aira_plan *plan, const cpu_step *step, cpu_share *shares) {
    const aira_plan_step *s = step->step;
    if (step->chain) return chain(plan, step, shares);
    switch (s->op) {
    case AIRA_OP_MATMUL:
        return matmul(plan, step, shares);
    case AIRA_OP_SUM:
    case AIRA_OP_MAX_REDUCE:
        all(step, shares);
        if ((s->i[0] & 1) != 0) shares[1] = CPU_SUMMED;
        return (s->i[0] & 1) == 0 || s->op == AIRA_OP_SUM;
    case AIRA_OP_TRANSPOSE:
        all(step, shares);
        return s->i[0] == 0;
    case AIRA_OP_SLICE:
    case AIRA_OP_CONCAT:
    case AIRA_OP_PAD:
        all(step, shares);
        return s->i[0] > 0;
    default:
        for (size_t k = 0; k < sizeof table / sizeof *table; k++) {
            if (table[k].op == s->op) return by_pattern(table[k].pattern, step, shares);
        }
        return false;
    }
}

bool cpu_partition(const aira_plan *plan, const cpu_step *step, cpu_share *shares, int64_t *units) {
    int64_t largest = 0;
    bool sums = false;
    *units = 0;
    if (step->step->op == AIRA_OP_CUMSUM && step->step->i[0] == 0) return false;
    if (!shares_of(plan, step, shares)) return false;
    for (uint32_t k = 0; k < step->n_in + step->n_out; k++) {
        const aira_plan_tensor *tensor = cpu_tensor(plan, cpu_operand_id(step, k));
        if (tensor->dtype == AIRA_F64) return false;
        if (shares[k] == CPU_SUMMED) {
            if (!step->fast || tensor->dtype == AIRA_I32 || cpu_elements(&tensor->shape) > MAX_SUMMED) return false;
            sums = true;
        } else if (shares[k] == CPU_PART) {
            if (tensor->shape.rank == 0 || (*units != 0 && *units != tensor->shape.dims[0])) return false;
            *units = tensor->shape.dims[0];
            if (cpu_elements(&tensor->shape) > largest) largest = cpu_elements(&tensor->shape);
        }
    }
    if (sums && largest < LEAST_SUMMED * *units) return false;
    /* ops along the last axis need another one to cut */
    bool rows = step->chain || step->step->op == AIRA_OP_SCATTER_ADD || shares[0] != CPU_PART;
    return *units > 0 && (rows || cpu_tensor(plan, step->in[0])->shape.rank > 1);
}
