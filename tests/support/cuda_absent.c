/* cuda_absent.c - what the rearranging of steps asks of the rest of the cuda device, for tests without a GPU: kernels
 * take what is bf16, and none of them runs.
 */
#include "kernels/cuda/batch.h"
#include "kernels/cuda/fast.h"
#include "kernels/cuda/generate.h"
#include "kernels/cuda/sums.h"
#include "kernels/cuda/turned.h"
#include "kernels/cuda/weights.h"

bool gpu_norm_takes(const gpu_call *call) { return call->in[0].dtype == AIRA_BF16; }
bool gpu_small_attention_takes(const gpu_call *call) { /* not what cuDNN takes */
    return call->in[0].dtype == AIRA_BF16 && call->in[0].shape.dims[1] <= 128;
}
const char *gpu_mlp_forward(const gpu_call *call) { return call ? "not here" : NULL; }
const char *gpu_mlp_backward(const gpu_call *call) { return call ? "not here" : NULL; }
size_t gpu_mlp_backward_workspace(const gpu_call *call) { return call->n_in; }
bool gpu_linear_takes(const gpu_call *call) {
    const gpu_linear_slots s = gpu_linear_slots_of(call->linear);
    const gpu_view *r = call->linear->sums ? &call->out[s.to_r] : &call->in[s.r];
    return r->dtype == AIRA_BF16 && gpu_last(&r->shape) <= 128;
}
const gpu_kernel gpu_linear_kernel;
const char *gpu_joins_run(const gpu_join *j, const struct gpu_block *b, uint32_t n_b, cudaStream_t s) {
    (void)j, (void)b, (void)n_b, (void)s;
    return "not here";
}
bool gpu_scan_chunks_takes(const gpu_call *call) { return call->in[0].dtype == AIRA_BF16; }
bool gpu_conv_takes(const gpu_call *call) { return call->in[0].dtype == AIRA_BF16; }
bool gpu_gated_norm_takes(const gpu_call *call) { return call->in[0].dtype == AIRA_BF16; }
bool gpu_ssd_steps_takes(const gpu_call *call) { return call->in[0].dtype == AIRA_BF16; }
bool gpu_project_takes(const gpu_call *call) { return call->in[0].dtype == AIRA_BF16; }
const gpu_kernel gpu_turn_kernel = {AIRA_OP_TRANSPOSE, NULL, NULL};
const gpu_kernel gpu_project_kernel = {AIRA_OP_MATMUL, NULL, NULL};
bool gpu_scatter_takes(const gpu_call *call) { return call->n_in < 2; }
bool gpu_listed_scatter_takes(const gpu_call *call) { return call->out[0].dtype == AIRA_F32; }
int gpu_matmul_merges(const gpu_call *call) { return call->in[0].dtype == AIRA_BF16; }
cudaKernel_t gpu_compiler_kernel(gpu_compiler *c, const gpu_chain_program *p, int vector, int batched) {
    (void)c, (void)p, (void)vector, (void)batched;
    return NULL;
}
const char *gpu_chain_interpret(const gpu_chain *c, const gpu_chain_pointers *p, cudaStream_t s) {
    (void)c, (void)p, (void)s;
    return "not here";
}
const char *gpu_sums_run(const gpu_sum *s, uint32_t n, const gpu_block *b, uint32_t n_b, float *p, cudaStream_t st) {
    (void)s, (void)n, (void)b, (void)n_b, (void)p, (void)st;
    return "not here";
}
int gpu_weights_in_clusters(void) { return 1; }
const char *gpu_weights_run(const gpu_weights *run, cudaStream_t s) {
    (void)run, (void)s;
    return "not here";
}
