/* reference.c - brings operands into the computing type, calls the reference kernel, brings results back.
 *
 * The computing type is double if any tensor is F64 or all are I32, else float.
 */
#include "reference.h"

#include <string.h>

static const struct {
    uint32_t op;
    ref_kernel f32, f64;
} kernels[] = {
#define REF_ROW(op, function) {AIRA_OP_##op, function##_f32, function##_f64},
    REF_TABLE(REF_ROW)
#undef REF_ROW
};

static uint32_t computing_type(const cpu_call *call) {
    bool wide = false, integer = true;
    for (uint32_t k = 0; k < call->n_in + call->n_out; k++) {
        const cpu_view *view = k < call->n_in ? &call->in[k] : &call->out[k - call->n_in];
        wide = wide || view->dtype == AIRA_F64;
        integer = integer && view->dtype == AIRA_I32;
    }
    return wide || integer ? AIRA_F64 : AIRA_F32;
}

static void run(const cpu_call *call) {
    ref_call ref = {.worker = call->worker, .n_in = call->n_in, .n_out = call->n_out};
    uint32_t real = computing_type(call);
    size_t bytes = cpu_bytes_of(real);
    cpu_mark mark = cpu_scratch_mark(call->worker);
    if (call->n_in > REF_MAX || call->n_out > REF_MAX) return; /* no op of the table has so many */
    ref.i = call->step->i;
    ref.n_i = call->step->n_i;
    ref.f = call->step->f;
    for (uint32_t k = 0; k < call->n_in; k++) {
        const cpu_view *view = &call->in[k];
        ref.in_shape[k] = &view->shape;
        ref.in[k] = view->data;
        if (view->dtype == AIRA_I32) ref.index[k] = (const int32_t *)view->data;
        if (view->dtype == real) continue;
        void *copy = cpu_alloc(call->worker, (size_t)view->n * bytes);
        if (!copy) goto done;
        cpu_convert(copy, real, view->data, view->dtype, view->n);
        ref.in[k] = copy;
    }
    for (uint32_t k = 0; k < call->n_out; k++) {
        const cpu_view *view = &call->out[k];
        ref.out_shape[k] = &view->shape;
        ref.out[k] = view->dtype == real ? view->data : cpu_alloc(call->worker, (size_t)view->n * bytes);
        if (!ref.out[k]) goto done;
    }
    for (size_t k = 0; k < sizeof kernels / sizeof *kernels; k++) {
        if (kernels[k].op == call->step->op) (real == AIRA_F64 ? kernels[k].f64 : kernels[k].f32)(&ref);
    }
    for (uint32_t k = 0; k < call->n_out; k++) {
        const cpu_view *view = &call->out[k];
        if (view->dtype != real) cpu_convert(view->data, view->dtype, ref.out[k], real, view->n);
    }
done:
    cpu_release(call->worker, mark);
}

cpu_kernel cpu_reference_kernel(uint32_t op) {
    for (size_t k = 0; k < sizeof kernels / sizeof *kernels; k++) {
        if (kernels[k].op == op) return run;
    }
    return NULL;
}
