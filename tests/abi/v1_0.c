/* tests/abi/v1_0.c - everything that crosses the plugin boundary in ABI 1.0.
 *
 * Written by tools/abi-lock.py when this minor was released; never edited. Structs that begin with their size may
 * grow at the end; the others are frozen for the major. Valid on 64-bit machines.
 */
#include "aira/abi.h"
#include "aira/agent.h"
#include "aira/aggregator.h"
#include "aira/aira.h"
#include "aira/backbone.h"
#include "aira/dataset.h"
#include "aira/device.h"
#include "aira/executor.h"
#include "aira/graph.h"
#include "aira/op_table.h"
#include "aira/optimizer.h"
#include "aira/plugin.h"
#include "aira/primitive.h"
#include "aira/scaffold.h"
#include "aira/schema.h"
#include "aira/ext/active.h"
#include "aira/ext/http.h"
#include "aira/ext/json.h"
#include "aira/ext/process.h"
#include "aira/ext/queue.h"
#include "aira/ext/recording.h"

#define GROWS(type, bytes) _Static_assert(sizeof(struct type) >= bytes, #type " shrank")
#define FROZEN(type, bytes) _Static_assert(sizeof(struct type) == bytes, #type " changed its size")
#define SLOT(type, member, place, ...)                                                                 \
    _Static_assert(offsetof(struct type, member) == place, #type "." #member " moved");              \
    _Static_assert(_Generic(&((struct type *)0)->member, __VA_ARGS__: 1, default: 0),                  \
                   #type "." #member " changed its type")
#define VALUE(name, number) _Static_assert((name) == (number), #name " changed its value")

_Static_assert(_Generic((aira_status *)0, int32_t *: 1, default: 0), "aira_status changed its type");

FROZEN(aira_shape, 72);
SLOT(aira_shape, dims, 0, int64_t (*)[AIRA_MAX_RANK]);
SLOT(aira_shape, rank, 64, uint32_t (*));
SLOT(aira_shape, reserved, 68, uint32_t (*));

FROZEN(aira_message, 16);
SLOT(aira_message, role, 0, const char *(*));
SLOT(aira_message, content, 8, const char *(*));

FROZEN(aira_seen_node, 56);
SLOT(aira_seen_node, idx, 0, int64_t (*));
SLOT(aira_seen_node, parent, 8, int64_t (*));
SLOT(aira_seen_node, operator_name, 16, const char *(*));
SLOT(aira_seen_node, architecture, 24, const char *(*));
SLOT(aira_seen_node, status, 32, const char *(*));
SLOT(aira_seen_node, score, 40, double (*));
SLOT(aira_seen_node, note, 48, const char *(*));

GROWS(aira_agent_request, 136);
SLOT(aira_agent_request, size, 0, uint32_t (*));
SLOT(aira_agent_request, n_messages, 4, uint32_t (*));
SLOT(aira_agent_request, messages, 8, const aira_message *(*));
SLOT(aira_agent_request, operator_name, 16, const char *(*));
SLOT(aira_agent_request, state_json, 24, const char *(*));
SLOT(aira_agent_request, seed, 32, uint64_t (*));
SLOT(aira_agent_request, n_layers, 40, uint32_t (*));
SLOT(aira_agent_request, n_tokens, 44, uint32_t (*));
SLOT(aira_agent_request, tokens, 48, const char *const *(*));
SLOT(aira_agent_request, parent, 56, int64_t (*));
SLOT(aira_agent_request, other_parent, 64, int64_t (*));
SLOT(aira_agent_request, n_nodes, 72, uint32_t (*));
SLOT(aira_agent_request, higher_is_better, 76, uint32_t (*));
SLOT(aira_agent_request, nodes, 80, const aira_seen_node *(*));
SLOT(aira_agent_request, node, 88, int64_t (*));
SLOT(aira_agent_request, attempt, 96, int64_t (*));
SLOT(aira_agent_request, request_hash, 104, const char *(*));
SLOT(aira_agent_request, kind, 112, const char *(*));
SLOT(aira_agent_request, parent_source, 120, const char *(*));
SLOT(aira_agent_request, other_parent_source, 128, const char *(*));

GROWS(aira_usage, 72);
SLOT(aira_usage, size, 0, uint32_t (*));
SLOT(aira_usage, reserved, 4, uint32_t (*));
SLOT(aira_usage, input_tokens, 8, int64_t (*));
SLOT(aira_usage, cached_input_tokens, 16, int64_t (*));
SLOT(aira_usage, output_tokens, 24, int64_t (*));
SLOT(aira_usage, reasoning_tokens, 32, int64_t (*));
SLOT(aira_usage, money_usd, 40, double (*));
SLOT(aira_usage, cache_write_tokens, 48, int64_t (*));
SLOT(aira_usage, tries, 56, int64_t (*));
SLOT(aira_usage, model, 64, const char *(*));

GROWS(aira_sink, 64);
SLOT(aira_sink, size, 0, uint32_t (*));
SLOT(aira_sink, reserved, 4, uint32_t (*));
SLOT(aira_sink, core, 8, void *(*));
SLOT(aira_sink, text, 16, aira_status (*(*))(const aira_sink *, const char *bytes, uint64_t n));
SLOT(aira_sink, usage, 24, void (*(*))(const aira_sink *, const aira_usage *));
SLOT(aira_sink, cancelled, 32, int32_t (*(*))(const aira_sink *));
SLOT(aira_sink, note, 40, void (*(*))(const aira_sink *, const char *sentence));
SLOT(aira_sink, restart, 48, void (*(*))(const aira_sink *, const char *reason));
SLOT(aira_sink, ending, 56, int32_t (*(*))(const aira_sink *));

GROWS(aira_agent, 16);
SLOT(aira_agent, size, 0, uint32_t (*));
SLOT(aira_agent, flags, 4, uint32_t (*));
SLOT(aira_agent, complete, 8, aira_status (*(*))(void *self, const aira_agent_request *request, const aira_sink *sink));

FROZEN(aira_scored, 16);
SLOT(aira_scored, layers, 0, const uint16_t *(*));
SLOT(aira_scored, score, 8, double (*));

GROWS(aira_aggregate_in, 32);
SLOT(aira_aggregate_in, size, 0, uint32_t (*));
SLOT(aira_aggregate_in, n_layers, 4, uint32_t (*));
SLOT(aira_aggregate_in, n_tokens, 8, uint32_t (*));
SLOT(aira_aggregate_in, n_candidates, 12, uint32_t (*));
SLOT(aira_aggregate_in, tokens, 16, const char *const *(*));
SLOT(aira_aggregate_in, candidates, 24, const aira_scored *(*));

GROWS(aira_aggregate_out, 40);
SLOT(aira_aggregate_out, size, 0, uint32_t (*));
SLOT(aira_aggregate_out, cluster_size, 4, uint32_t (*));
SLOT(aira_aggregate_out, layers, 8, uint16_t *(*));
SLOT(aira_aggregate_out, support, 16, double *(*));
SLOT(aira_aggregate_out, core, 24, void *(*));
SLOT(aira_aggregate_out, note, 32, void (*(*))(void *core, const char *text));

GROWS(aira_aggregator, 16);
SLOT(aira_aggregator, size, 0, uint32_t (*));
SLOT(aira_aggregator, flags, 4, uint32_t (*));
SLOT(aira_aggregator, combine, 8, aira_status (*(*))(void *self, const aira_aggregate_in *in, aira_aggregate_out *out));

GROWS(aira_block_style, 24);
SLOT(aira_block_style, size, 0, uint32_t (*));
SLOT(aira_block_style, norm, 4, uint32_t (*));
SLOT(aira_block_style, norm_eps, 8, double (*));
SLOT(aira_block_style, residual_scale, 16, double (*));

GROWS(aira_blocks, 48);
SLOT(aira_blocks, size, 0, uint32_t (*));
SLOT(aira_blocks, n_layers, 4, uint32_t (*));
SLOT(aira_blocks, core, 8, void *(*));
SLOT(aira_blocks, block, 16, aira_tensor *(*(*))(const struct aira_blocks *, aira_graph *, uint32_t layer, aira_tensor *x, const aira_block_style *));
SLOT(aira_blocks, reinit, 24, void (*(*))(const struct aira_blocks *, aira_graph *, const char *role, const char *init, double a, double b, int32_t force));
SLOT(aira_blocks, scope, 32, void (*(*))(const struct aira_blocks *, aira_graph *, const char *prefix));
SLOT(aira_blocks, place, 40, void (*(*))(const struct aira_blocks *, aira_graph *, const char *name, aira_tensor *));

GROWS(aira_model_in, 32);
SLOT(aira_model_in, size, 0, uint32_t (*));
SLOT(aira_model_in, reserved, 4, uint32_t (*));
SLOT(aira_model_in, tokens, 8, aira_tensor *(*));
SLOT(aira_model_in, targets, 16, aira_tensor *(*));
SLOT(aira_model_in, vocab, 24, int64_t (*));

GROWS(aira_model_out, 24);
SLOT(aira_model_out, size, 0, uint32_t (*));
SLOT(aira_model_out, reserved, 4, uint32_t (*));
SLOT(aira_model_out, logits, 8, aira_tensor *(*));
SLOT(aira_model_out, loss, 16, aira_tensor *(*));

GROWS(aira_backbone, 24);
SLOT(aira_backbone, size, 0, uint32_t (*));
SLOT(aira_backbone, flags, 4, uint32_t (*));
SLOT(aira_backbone, build, 8, aira_status (*(*))(void *self, const aira_ops *ops, aira_graph *graph, const aira_blocks *blocks, const aira_model_in *in, aira_model_out *out));
SLOT(aira_backbone, width, 16, int64_t (*(*))(void *self));

GROWS(aira_dataset_info, 96);
SLOT(aira_dataset_info, size, 0, uint32_t (*));
SLOT(aira_dataset_info, metric, 4, uint32_t (*));
SLOT(aira_dataset_info, vocab, 8, int64_t (*));
SLOT(aira_dataset_info, classes, 16, int64_t (*));
SLOT(aira_dataset_info, input_length, 24, int64_t (*));
SLOT(aira_dataset_info, target_length, 32, int64_t (*));
SLOT(aira_dataset_info, n_rows, 40, int64_t (*)[AIRA_N_SPLITS]);
SLOT(aira_dataset_info, batch, 72, int64_t (*));
SLOT(aira_dataset_info, best, 80, double (*));
SLOT(aira_dataset_info, worst, 88, double (*));

GROWS(aira_dataset, 32);
SLOT(aira_dataset, size, 0, uint32_t (*));
SLOT(aira_dataset, flags, 4, uint32_t (*));
SLOT(aira_dataset, describe, 8, aira_status (*(*))(void *self, aira_dataset_info *info));
SLOT(aira_dataset, rows, 16, aira_status (*(*))(void *self, uint32_t split, uint64_t seed, const uint64_t *indices, uint32_t n, int32_t *inputs, int32_t *targets));
SLOT(aira_dataset, token_bytes, 24, int64_t (*(*))(void *self, int32_t token));

GROWS(aira_plan_tensor, 96);
SLOT(aira_plan_tensor, size, 0, uint32_t (*));
SLOT(aira_plan_tensor, dtype, 4, uint32_t (*));
SLOT(aira_plan_tensor, storage, 8, uint32_t (*));
SLOT(aira_plan_tensor, copies, 12, uint32_t (*));
SLOT(aira_plan_tensor, offset, 16, uint64_t (*));
SLOT(aira_plan_tensor, shape, 24, aira_shape (*));

GROWS(aira_plan_step, 80);
SLOT(aira_plan_step, size, 0, uint32_t (*));
SLOT(aira_plan_step, op, 4, uint32_t (*));
SLOT(aira_plan_step, n_in, 8, uint32_t (*));
SLOT(aira_plan_step, n_out, 12, uint32_t (*));
SLOT(aira_plan_step, n_i, 16, uint32_t (*));
SLOT(aira_plan_step, n_f, 20, uint32_t (*));
SLOT(aira_plan_step, copies, 24, uint32_t (*));
SLOT(aira_plan_step, n_chain, 28, uint32_t (*));
SLOT(aira_plan_step, block, 32, uint32_t (*));
SLOT(aira_plan_step, backward, 36, uint32_t (*));
SLOT(aira_plan_step, in, 40, const uint32_t *(*));
SLOT(aira_plan_step, out, 48, const uint32_t *(*));
SLOT(aira_plan_step, i, 56, const int64_t *(*));
SLOT(aira_plan_step, f, 64, const double *(*));
SLOT(aira_plan_step, chain, 72, const aira_plan_step *(*));

GROWS(aira_plan_block, 32);
SLOT(aira_plan_block, size, 0, uint32_t (*));
SLOT(aira_plan_block, layer, 4, uint32_t (*));
SLOT(aira_plan_block, primitive, 8, const char *(*));
SLOT(aira_plan_block, config, 16, const char *(*));
SLOT(aira_plan_block, norm, 24, uint32_t (*));
SLOT(aira_plan_block, reserved, 28, uint32_t (*));

GROWS(aira_plan, 88);
SLOT(aira_plan, size, 0, uint32_t (*));
SLOT(aira_plan, copies, 4, uint32_t (*));
SLOT(aira_plan, n_tensors, 8, uint32_t (*));
SLOT(aira_plan, n_steps, 12, uint32_t (*));
SLOT(aira_plan, n_blocks, 16, uint32_t (*));
SLOT(aira_plan, tensor_stride, 20, uint32_t (*));
SLOT(aira_plan, step_stride, 24, uint32_t (*));
SLOT(aira_plan, block_stride, 28, uint32_t (*));
SLOT(aira_plan, tensors, 32, const aira_plan_tensor *(*));
SLOT(aira_plan, steps, 40, const aira_plan_step *(*));
SLOT(aira_plan, blocks, 48, const aira_plan_block *(*));
SLOT(aira_plan, bytes, 56, uint64_t (*)[AIRA_N_BUFFERS]);
SLOT(aira_plan, seed_offset, 80, uint64_t (*));

GROWS(aira_device_info, 120);
SLOT(aira_device_info, size, 0, uint32_t (*));
SLOT(aira_device_info, threads, 4, uint32_t (*));
SLOT(aira_device_info, name, 8, char (*)[64]);
SLOT(aira_device_info, isa, 72, char (*)[32]);
SLOT(aira_device_info, memory_bytes, 104, uint64_t (*));
SLOT(aira_device_info, memory_taken, 112, uint64_t (*));

GROWS(aira_device, 88);
SLOT(aira_device, size, 0, uint32_t (*));
SLOT(aira_device, flags, 4, uint32_t (*));
SLOT(aira_device, unavailable, 8, const char *(*(*))(void));
SLOT(aira_device, info, 16, aira_status (*(*))(void *self, aira_device_info *info));
SLOT(aira_device, supports, 24, int32_t (*(*))(void *self, uint32_t op, const aira_plan_tensor *tensors, uint32_t n_in, uint32_t n_out, const int64_t *i, uint32_t n_i));
SLOT(aira_device, buffer_create, 32, aira_status (*(*))(void *self, uint64_t bytes, void **buffer));
SLOT(aira_device, buffer_destroy, 40, void (*(*))(void *self, void *buffer));
SLOT(aira_device, upload, 48, aira_status (*(*))(void *self, void *buffer, uint64_t offset, const void *from, uint64_t bytes));
SLOT(aira_device, download, 56, aira_status (*(*))(void *self, void *buffer, uint64_t offset, void *to, uint64_t bytes));
SLOT(aira_device, compile, 64, aira_status (*(*))(void *self, const aira_plan *plan, void **program));
SLOT(aira_device, program_destroy, 72, void (*(*))(void *self, void *program));
SLOT(aira_device, run, 80, aira_status (*(*))(void *self, void *program, void *const buffers[AIRA_N_BUFFERS], uint64_t seed));

GROWS(aira_lease, 48);
SLOT(aira_lease, size, 0, uint32_t (*));
SLOT(aira_lease, n_argv, 4, uint32_t (*));
SLOT(aira_lease, id, 8, const char *(*));
SLOT(aira_lease, folder, 16, const char *(*));
SLOT(aira_lease, argv, 24, const char *const *(*));
SLOT(aira_lease, memory_bytes, 32, uint64_t (*));
SLOT(aira_lease, seconds, 40, double (*));

GROWS(aira_lease_state, 272);
SLOT(aira_lease_state, size, 0, uint32_t (*));
SLOT(aira_lease_state, state, 4, uint32_t (*));
SLOT(aira_lease_state, exit_status, 8, int32_t (*));
SLOT(aira_lease_state, signal, 12, int32_t (*));
SLOT(aira_lease_state, text, 16, char (*)[256]);

GROWS(aira_executor, 48);
SLOT(aira_executor, size, 0, uint32_t (*));
SLOT(aira_executor, flags, 4, uint32_t (*));
SLOT(aira_executor, capacity, 8, uint32_t (*(*))(void *self));
SLOT(aira_executor, submit, 16, aira_status (*(*))(void *self, const aira_lease *lease, uint64_t *handle));
SLOT(aira_executor, poll, 24, aira_status (*(*))(void *self, uint64_t handle, aira_lease_state *state));
SLOT(aira_executor, cancel, 32, aira_status (*(*))(void *self, uint64_t handle));
SLOT(aira_executor, forget, 40, void (*(*))(void *self, uint64_t handle));

GROWS(aira_param_info, 72);
SLOT(aira_param_info, size, 0, uint32_t (*));
SLOT(aira_param_info, flags, 4, uint32_t (*));
SLOT(aira_param_info, init, 8, const char *(*));
SLOT(aira_param_info, a, 16, double (*));
SLOT(aira_param_info, b, 24, double (*));
SLOT(aira_param_info, value, 32, aira_tensor *(*));
SLOT(aira_param_info, role, 40, const char *(*));
SLOT(aira_param_info, lr_mult, 48, double (*));
SLOT(aira_param_info, decay_mult, 56, double (*));
SLOT(aira_param_info, init_mult, 64, double (*));

GROWS(aira_ops, 544);
SLOT(aira_ops, size, 0, uint32_t (*));
SLOT(aira_ops, minor, 4, uint32_t (*));
SLOT(aira_ops, ctx_int, 8, int64_t (*(*))(aira_graph *, const char *name, int64_t fallback));
SLOT(aira_ops, ctx_tensor, 16, aira_tensor *(*(*))(aira_graph *, const char *name));
SLOT(aira_ops, shape, 24, void (*(*))(aira_graph *, const aira_tensor *, aira_shape *out));
SLOT(aira_ops, dim, 32, int64_t (*(*))(aira_graph *, const aira_tensor *, int32_t axis));
SLOT(aira_ops, error, 40, aira_tensor *(*(*))(aira_graph *, const char *text));
SLOT(aira_ops, param, 48, aira_tensor *(*(*))(aira_graph *, const char *name, const aira_shape *, const aira_param_info *));
SLOT(aira_ops, constant, 56, aira_tensor *(*(*))(aira_graph *, double value, const aira_shape *));
SLOT(aira_ops, iota, 64, aira_tensor *(*(*))(aira_graph *, const aira_shape *, int32_t axis));
SLOT(aira_ops, random, 72, aira_tensor *(*(*))(aira_graph *, const char *name, const aira_shape *, const char *distribution, int32_t each_step));
SLOT(aira_ops, aux_loss, 80, void (*(*))(aira_graph *, const char *name, aira_tensor *scalar, double weight));
SLOT(aira_ops, metric, 88, void (*(*))(aira_graph *, const char *name, aira_tensor *scalar));
SLOT(aira_ops, neg, 96, aira_tensor *(*(*))(aira_graph *, aira_tensor *));
SLOT(aira_ops, exp, 104, aira_tensor *(*(*))(aira_graph *, aira_tensor *));
SLOT(aira_ops, log, 112, aira_tensor *(*(*))(aira_graph *, aira_tensor *));
SLOT(aira_ops, sqrt, 120, aira_tensor *(*(*))(aira_graph *, aira_tensor *));
SLOT(aira_ops, rsqrt, 128, aira_tensor *(*(*))(aira_graph *, aira_tensor *));
SLOT(aira_ops, sigmoid, 136, aira_tensor *(*(*))(aira_graph *, aira_tensor *));
SLOT(aira_ops, tanh, 144, aira_tensor *(*(*))(aira_graph *, aira_tensor *));
SLOT(aira_ops, silu, 152, aira_tensor *(*(*))(aira_graph *, aira_tensor *));
SLOT(aira_ops, gelu, 160, aira_tensor *(*(*))(aira_graph *, aira_tensor *, int32_t exact));
SLOT(aira_ops, relu, 168, aira_tensor *(*(*))(aira_graph *, aira_tensor *));
SLOT(aira_ops, softplus, 176, aira_tensor *(*(*))(aira_graph *, aira_tensor *));
SLOT(aira_ops, sin, 184, aira_tensor *(*(*))(aira_graph *, aira_tensor *));
SLOT(aira_ops, cos, 192, aira_tensor *(*(*))(aira_graph *, aira_tensor *));
SLOT(aira_ops, abs, 200, aira_tensor *(*(*))(aira_graph *, aira_tensor *));
SLOT(aira_ops, add, 208, aira_tensor *(*(*))(aira_graph *, aira_tensor *, aira_tensor *));
SLOT(aira_ops, sub, 216, aira_tensor *(*(*))(aira_graph *, aira_tensor *, aira_tensor *));
SLOT(aira_ops, mul, 224, aira_tensor *(*(*))(aira_graph *, aira_tensor *, aira_tensor *));
SLOT(aira_ops, div, 232, aira_tensor *(*(*))(aira_graph *, aira_tensor *, aira_tensor *));
SLOT(aira_ops, min, 240, aira_tensor *(*(*))(aira_graph *, aira_tensor *, aira_tensor *));
SLOT(aira_ops, max, 248, aira_tensor *(*(*))(aira_graph *, aira_tensor *, aira_tensor *));
SLOT(aira_ops, pow, 256, aira_tensor *(*(*))(aira_graph *, aira_tensor *, aira_tensor *));
SLOT(aira_ops, compare, 264, aira_tensor *(*(*))(aira_graph *, const char *relation, aira_tensor *, aira_tensor *));
SLOT(aira_ops, where, 272, aira_tensor *(*(*))(aira_graph *, aira_tensor *condition, aira_tensor *a, aira_tensor *b));
SLOT(aira_ops, scale, 280, aira_tensor *(*(*))(aira_graph *, aira_tensor *, double factor));
SLOT(aira_ops, cast, 288, aira_tensor *(*(*))(aira_graph *, aira_tensor *, uint32_t dtype));
SLOT(aira_ops, stop_gradient, 296, aira_tensor *(*(*))(aira_graph *, aira_tensor *));
SLOT(aira_ops, matmul, 304, aira_tensor *(*(*))(aira_graph *, aira_tensor *a, aira_tensor *b, int32_t trans_a, int32_t trans_b));
SLOT(aira_ops, linear, 312, aira_tensor *(*(*))(aira_graph *, aira_tensor *x, aira_tensor *weight, aira_tensor *bias));
SLOT(aira_ops, einsum, 320, aira_tensor *(*(*))(aira_graph *, const char *equation, aira_tensor *a, aira_tensor *b));
SLOT(aira_ops, sum, 328, aira_tensor *(*(*))(aira_graph *, aira_tensor *, const int32_t *axes, uint32_t n_axes, int32_t keep));
SLOT(aira_ops, mean, 336, aira_tensor *(*(*))(aira_graph *, aira_tensor *, const int32_t *axes, uint32_t n_axes, int32_t keep));
SLOT(aira_ops, max_along, 344, aira_tensor *(*(*))(aira_graph *, aira_tensor *, const int32_t *axes, uint32_t n_axes, int32_t keep));
SLOT(aira_ops, cumsum, 352, aira_tensor *(*(*))(aira_graph *, aira_tensor *, int32_t axis, int32_t reverse, int32_t exclusive));
SLOT(aira_ops, reshape, 360, aira_tensor *(*(*))(aira_graph *, aira_tensor *, const aira_shape *));
SLOT(aira_ops, transpose, 368, aira_tensor *(*(*))(aira_graph *, aira_tensor *, const int32_t *order, uint32_t n));
SLOT(aira_ops, slice, 376, aira_tensor *(*(*))(aira_graph *, aira_tensor *, int32_t axis, int64_t start, int64_t length));
SLOT(aira_ops, concat, 384, aira_tensor *(*(*))(aira_graph *, aira_tensor *const *, uint32_t n, int32_t axis));
SLOT(aira_ops, pad, 392, aira_tensor *(*(*))(aira_graph *, aira_tensor *, int32_t axis, int64_t before, int64_t after, double value));
SLOT(aira_ops, broadcast, 400, aira_tensor *(*(*))(aira_graph *, aira_tensor *, const aira_shape *));
SLOT(aira_ops, gather, 408, aira_tensor *(*(*))(aira_graph *, aira_tensor *x, aira_tensor *indices));
SLOT(aira_ops, scatter_add, 416, aira_tensor *(*(*))(aira_graph *, aira_tensor *indices, aira_tensor *rows, int64_t n_rows));
SLOT(aira_ops, gather_last, 424, aira_tensor *(*(*))(aira_graph *, aira_tensor *x, aira_tensor *indices));
SLOT(aira_ops, scatter_last, 432, aira_tensor *(*(*))(aira_graph *, aira_tensor *indices, aira_tensor *values, int64_t extent));
SLOT(aira_ops, top_k, 440, aira_tensor *(*(*))(aira_graph *, aira_tensor *, int64_t k, aira_tensor **indices));
SLOT(aira_ops, argsort, 448, aira_tensor *(*(*))(aira_graph *, aira_tensor *, int32_t descending));
SLOT(aira_ops, rms_norm, 456, aira_tensor *(*(*))(aira_graph *, aira_tensor *x, aira_tensor *weight, double eps));
SLOT(aira_ops, layer_norm, 464, aira_tensor *(*(*))(aira_graph *, aira_tensor *x, aira_tensor *weight, aira_tensor *bias, double eps));
SLOT(aira_ops, softmax, 472, aira_tensor *(*(*))(aira_graph *, aira_tensor *x));
SLOT(aira_ops, attention, 480, aira_tensor *(*(*))(aira_graph *, aira_tensor *q, aira_tensor *k, aira_tensor *v, aira_tensor *mask, int32_t causal, int64_t window, double scale));
SLOT(aira_ops, rope, 488, aira_tensor *(*(*))(aira_graph *, aira_tensor *x, aira_tensor *positions, double base, int64_t n_rot, int32_t interleaved));
SLOT(aira_ops, conv1d_causal, 496, aira_tensor *(*(*))(aira_graph *, aira_tensor *x, aira_tensor *weight, aira_tensor *bias));
SLOT(aira_ops, selective_scan, 504, aira_tensor *(*(*))(aira_graph *, aira_tensor *u, aira_tensor *delta, aira_tensor *A, aira_tensor *B, aira_tensor *C, aira_tensor *D));
SLOT(aira_ops, ssd, 512, aira_tensor *(*(*))(aira_graph *, aira_tensor *x, aira_tensor *dt, aira_tensor *A, aira_tensor *B, aira_tensor *C, aira_tensor *D));
SLOT(aira_ops, fft_conv, 520, aira_tensor *(*(*))(aira_graph *, aira_tensor *u, aira_tensor *kernel));
SLOT(aira_ops, grouped_matmul, 528, aira_tensor *(*(*))(aira_graph *, aira_tensor *x, aira_tensor *weight, aira_tensor *counts));
SLOT(aira_ops, cross_entropy, 536, aira_tensor *(*(*))(aira_graph *, aira_tensor *logits, aira_tensor *targets));

GROWS(aira_update_in, 136);
SLOT(aira_update_in, size, 0, uint32_t (*));
SLOT(aira_update_in, no_decay, 4, uint32_t (*));
SLOT(aira_update_in, name, 8, const char *(*));
SLOT(aira_update_in, role, 16, const char *(*));
SLOT(aira_update_in, lr_mult, 24, double (*));
SLOT(aira_update_in, decay_mult, 32, double (*));
SLOT(aira_update_in, param, 40, aira_tensor *(*));
SLOT(aira_update_in, grad, 48, aira_tensor *(*));
SLOT(aira_update_in, state, 56, aira_tensor *(*)[AIRA_OPTIMIZER_MAX_STATES]);
SLOT(aira_update_in, lr, 120, aira_tensor *(*));
SLOT(aira_update_in, step, 128, aira_tensor *(*));

GROWS(aira_update_out, 80);
SLOT(aira_update_out, size, 0, uint32_t (*));
SLOT(aira_update_out, reserved, 4, uint32_t (*));
SLOT(aira_update_out, param, 8, aira_tensor *(*));
SLOT(aira_update_out, state, 16, aira_tensor *(*)[AIRA_OPTIMIZER_MAX_STATES]);

GROWS(aira_optimizer, 40);
SLOT(aira_optimizer, size, 0, uint32_t (*));
SLOT(aira_optimizer, flags, 4, uint32_t (*));
SLOT(aira_optimizer, n_states, 8, uint32_t (*));
SLOT(aira_optimizer, reserved, 12, uint32_t (*));
SLOT(aira_optimizer, state_names, 16, const char *const *(*));
SLOT(aira_optimizer, learning_rate, 24, double (*(*))(void *self));
SLOT(aira_optimizer, build, 32, aira_status (*(*))(void *self, const aira_ops *ops, aira_graph *graph, const aira_update_in *in, aira_update_out *out));

GROWS(aira_host, 56);
SLOT(aira_host, size, 0, uint32_t (*));
SLOT(aira_host, minor, 4, uint32_t (*));
SLOT(aira_host, core, 8, void *(*));
SLOT(aira_host, alloc, 16, void *(*(*))(const aira_host *host, uint64_t bytes));
SLOT(aira_host, release, 24, void (*(*))(const aira_host *host, void *memory));
SLOT(aira_host, log, 32, void (*(*))(const aira_host *host, int32_t level, const char *text));
SLOT(aira_host, fail, 40, aira_status (*(*))(const aira_host *host, aira_status status, const char *text));
SLOT(aira_host, service, 48, const void *(*(*))(const aira_host *host, const char *id));

GROWS(aira_plugin, 96);
SLOT(aira_plugin, size, 0, uint32_t (*));
SLOT(aira_plugin, kind_size, 4, uint32_t (*));
SLOT(aira_plugin, abi_major, 8, uint16_t (*));
SLOT(aira_plugin, abi_minor, 10, uint16_t (*));
SLOT(aira_plugin, host_minor_min, 12, uint16_t (*));
SLOT(aira_plugin, reserved, 14, uint16_t (*));
SLOT(aira_plugin, kind, 16, const char *(*));
SLOT(aira_plugin, id, 24, const char *(*));
SLOT(aira_plugin, version, 32, const char *(*));
SLOT(aira_plugin, license, 40, const char *(*));
SLOT(aira_plugin, summary, 48, const char *(*));
SLOT(aira_plugin, config, 56, const aira_schema *(*));
SLOT(aira_plugin, table, 64, const void *(*));
SLOT(aira_plugin, create, 72, aira_status (*(*))(const aira_host *host, const void *config, void **self));
SLOT(aira_plugin, destroy, 80, void (*(*))(void *self));
SLOT(aira_plugin, extension, 88, const void *(*(*))(const char *id));

FROZEN(aira_manifest, 88);
SLOT(aira_manifest, abi_major, 0, uint16_t (*));
SLOT(aira_manifest, abi_minor, 2, uint16_t (*));
SLOT(aira_manifest, kind, 4, char (*)[16]);
SLOT(aira_manifest, id, 20, char (*)[48]);
SLOT(aira_manifest, version, 68, char (*)[16]);
SLOT(aira_manifest, reserved, 84, uint32_t (*));

FROZEN(aira_manifest_note, 108);
SLOT(aira_manifest_note, namesz, 0, uint32_t (*));
SLOT(aira_manifest_note, descsz, 4, uint32_t (*));
SLOT(aira_manifest_note, type, 8, uint32_t (*));
SLOT(aira_manifest_note, name, 12, char (*)[8]);
SLOT(aira_manifest_note, desc, 20, aira_manifest (*));

GROWS(aira_primitive, 32);
SLOT(aira_primitive, size, 0, uint32_t (*));
SLOT(aira_primitive, flags, 4, uint32_t (*));
SLOT(aira_primitive, token, 8, const char *(*));
SLOT(aira_primitive, build, 16, aira_tensor *(*(*))(void *self, const aira_ops *ops, aira_graph *graph, aira_tensor *x));
SLOT(aira_primitive, kv_elements_per_token, 24, int64_t (*(*))(void *self, int64_t width));

GROWS(aira_node_view, 64);
SLOT(aira_node_view, size, 0, uint32_t (*));
SLOT(aira_node_view, status, 4, uint32_t (*));
SLOT(aira_node_view, operator_code, 8, uint32_t (*));
SLOT(aira_node_view, n_children, 12, uint32_t (*));
SLOT(aira_node_view, parent, 16, int64_t (*));
SLOT(aira_node_view, other_parent, 24, int64_t (*));
SLOT(aira_node_view, score, 32, double (*));
SLOT(aira_node_view, debug_depth, 40, uint32_t (*));
SLOT(aira_node_view, duplicate, 44, uint32_t (*));
SLOT(aira_node_view, layers, 48, const uint16_t *(*));
SLOT(aira_node_view, n_seeds, 56, uint32_t (*));
SLOT(aira_node_view, standing, 60, uint32_t (*));

GROWS(aira_journal_view, 48);
SLOT(aira_journal_view, size, 0, uint32_t (*));
SLOT(aira_journal_view, higher_is_better, 4, uint32_t (*));
SLOT(aira_journal_view, n_nodes, 8, uint32_t (*));
SLOT(aira_journal_view, node_stride, 12, uint32_t (*));
SLOT(aira_journal_view, nodes, 16, const aira_node_view *(*));
SLOT(aira_journal_view, seed, 24, uint64_t (*));
SLOT(aira_journal_view, draw, 32, double (*(*))(const struct aira_journal_view *, uint32_t which));
SLOT(aira_journal_view, n_layers, 40, uint32_t (*));
SLOT(aira_journal_view, n_tokens, 44, uint32_t (*));

GROWS(aira_action, 48);
SLOT(aira_action, size, 0, uint32_t (*));
SLOT(aira_action, act, 4, uint32_t (*));
SLOT(aira_action, operator_code, 8, uint32_t (*));
SLOT(aira_action, reserved, 12, uint32_t (*));
SLOT(aira_action, parent, 16, int64_t (*));
SLOT(aira_action, other_parent, 24, int64_t (*));
SLOT(aira_action, reason, 32, const char *(*));
SLOT(aira_action, layers, 40, uint16_t *(*));

GROWS(aira_scaffold, 16);
SLOT(aira_scaffold, size, 0, uint32_t (*));
SLOT(aira_scaffold, flags, 4, uint32_t (*));
SLOT(aira_scaffold, next, 8, aira_status (*(*))(void *self, const aira_journal_view *view, aira_action *action));

FROZEN(aira_list, 16);
SLOT(aira_list, items, 0, const void *(*));
SLOT(aira_list, n, 8, uint64_t (*));

GROWS(aira_field, 72);
SLOT(aira_field, key, 0, const char *(*));
SLOT(aira_field, doc, 8, const char *(*));
SLOT(aira_field, type, 16, uint32_t (*));
SLOT(aira_field, flags, 20, uint32_t (*));
SLOT(aira_field, offset, 24, uint32_t (*));
SLOT(aira_field, reserved, 28, uint32_t (*));
SLOT(aira_field, def, 32, double (*));
SLOT(aira_field, min, 40, double (*));
SLOT(aira_field, max, 48, double (*));
SLOT(aira_field, sdef, 56, const char *(*));
SLOT(aira_field, choices, 64, const char *const *(*));

GROWS(aira_schema, 24);
SLOT(aira_schema, size, 0, uint32_t (*));
SLOT(aira_schema, config_size, 4, uint32_t (*));
SLOT(aira_schema, n_fields, 8, uint32_t (*));
SLOT(aira_schema, field_stride, 12, uint32_t (*));
SLOT(aira_schema, fields, 16, const aira_field *(*));

GROWS(aira_active_parameters, 16);
SLOT(aira_active_parameters, size, 0, uint32_t (*));
SLOT(aira_active_parameters, reserved, 4, uint32_t (*));
SLOT(aira_active_parameters, active, 8, int64_t (*(*))(void *self, int64_t width));

GROWS(aira_http_try, 56);
SLOT(aira_http_try, size, 0, uint32_t (*));
SLOT(aira_http_try, number, 4, uint32_t (*));
SLOT(aira_http_try, http_status, 8, int32_t (*));
SLOT(aira_http_try, verdict, 12, int32_t (*));
SLOT(aira_http_try, content_type, 16, const char *(*));
SLOT(aira_http_try, problem, 24, const char *(*));
SLOT(aira_http_try, body, 32, const char *(*));
SLOT(aira_http_try, n_body, 40, uint64_t (*));
SLOT(aira_http_try, tokens, 48, int64_t (*));

GROWS(aira_http_handler, 64);
SLOT(aira_http_handler, size, 0, uint32_t (*));
SLOT(aira_http_handler, reserved, 4, uint32_t (*));
SLOT(aira_http_handler, context, 8, void *(*));
SLOT(aira_http_handler, begin, 16, void (*(*))(void *context, uint32_t number));
SLOT(aira_http_handler, event, 24, int32_t (*(*))(void *context, const char *name, const char *data, uint64_t n));
SLOT(aira_http_handler, end, 32, int32_t (*(*))(void *context, aira_http_try *, char *reason, uint64_t reason_size));
SLOT(aira_http_handler, waiting, 40, void (*(*))(void *context, const char *sentence));
SLOT(aira_http_handler, cancelled, 48, int32_t (*(*))(void *context));
SLOT(aira_http_handler, ending, 56, int32_t (*(*))(void *context));

GROWS(aira_http_request, 176);
SLOT(aira_http_request, size, 0, uint32_t (*));
SLOT(aira_http_request, n_headers, 4, uint32_t (*));
SLOT(aira_http_request, url, 8, const char *(*));
SLOT(aira_http_request, headers, 16, const char *const *(*));
SLOT(aira_http_request, body, 24, const void *(*));
SLOT(aira_http_request, n_body, 32, uint64_t (*));
SLOT(aira_http_request, bucket, 40, const char *(*));
SLOT(aira_http_request, key_env, 48, const char *(*));
SLOT(aira_http_request, key_file, 56, const char *(*));
SLOT(aira_http_request, key_header, 64, const char *(*));
SLOT(aira_http_request, proxy, 72, const char *(*));
SLOT(aira_http_request, ca_file, 80, const char *(*));
SLOT(aira_http_request, connect_seconds, 88, double (*));
SLOT(aira_http_request, stall_seconds, 96, double (*));
SLOT(aira_http_request, total_seconds, 104, double (*));
SLOT(aira_http_request, retry_seconds, 112, double (*));
SLOT(aira_http_request, delay_seconds, 120, double (*));
SLOT(aira_http_request, retries, 128, uint32_t (*));
SLOT(aira_http_request, concurrency, 132, uint32_t (*));
SLOT(aira_http_request, requests_per_minute, 136, double (*));
SLOT(aira_http_request, tokens_per_minute, 144, double (*));
SLOT(aira_http_request, tokens, 152, int64_t (*));
SLOT(aira_http_request, max_bytes, 160, uint64_t (*));
SLOT(aira_http_request, seed, 168, uint64_t (*));

GROWS(aira_http_result, 24);
SLOT(aira_http_result, size, 0, uint32_t (*));
SLOT(aira_http_result, tries, 4, uint32_t (*));
SLOT(aira_http_result, http_status, 8, int32_t (*));
SLOT(aira_http_result, reserved, 12, uint32_t (*));
SLOT(aira_http_result, waited, 16, double (*));

GROWS(aira_http_service, 24);
SLOT(aira_http_service, size, 0, uint32_t (*));
SLOT(aira_http_service, minor, 4, uint32_t (*));
SLOT(aira_http_service, core, 8, void *(*));
SLOT(aira_http_service, exchange, 16, aira_status (*(*))(const struct aira_http_service *, const aira_http_request *, const aira_http_handler *, aira_http_result *result));

GROWS(aira_json_service, 88);
SLOT(aira_json_service, size, 0, uint32_t (*));
SLOT(aira_json_service, minor, 4, uint32_t (*));
SLOT(aira_json_service, core, 8, void *(*));
SLOT(aira_json_service, parse, 16, aira_json *(*(*))(const struct aira_json_service *, const char *text, uint64_t n));
SLOT(aira_json_service, release, 24, void (*(*))(const struct aira_json_service *, aira_json *));
SLOT(aira_json_service, type, 32, int32_t (*(*))(const struct aira_json_service *, const aira_json *, const char *path));
SLOT(aira_json_service, text, 40, const char *(*(*))(const struct aira_json_service *, const aira_json *, const char *path, uint64_t *n));
SLOT(aira_json_service, integer, 48, int64_t (*(*))(const struct aira_json_service *, const aira_json *, const char *path, int64_t fallback));
SLOT(aira_json_service, number, 56, double (*(*))(const struct aira_json_service *, const aira_json *, const char *path, double fallback));
SLOT(aira_json_service, count, 64, int64_t (*(*))(const struct aira_json_service *, const aira_json *, const char *path));
SLOT(aira_json_service, quote, 72, char *(*(*))(const struct aira_json_service *, const char *text, uint64_t n));
SLOT(aira_json_service, edit, 80, char *(*(*))(const struct aira_json_service *, const char *text, const char *more, const char *const *drop, uint64_t n_drop));

GROWS(aira_process_limits, 64);
SLOT(aira_process_limits, size, 0, uint32_t (*));
SLOT(aira_process_limits, n_env, 4, uint32_t (*));
SLOT(aira_process_limits, env, 8, const char *const *(*));
SLOT(aira_process_limits, cwd, 16, const char *(*));
SLOT(aira_process_limits, stdout_path, 24, const char *(*));
SLOT(aira_process_limits, stderr_path, 32, const char *(*));
SLOT(aira_process_limits, seconds, 40, double (*));
SLOT(aira_process_limits, memory_bytes, 48, uint64_t (*));
SLOT(aira_process_limits, output_bytes, 56, uint64_t (*));

GROWS(aira_process_state, 24);
SLOT(aira_process_state, size, 0, uint32_t (*));
SLOT(aira_process_state, running, 4, uint32_t (*));
SLOT(aira_process_state, exit_status, 8, int32_t (*));
SLOT(aira_process_state, signal, 12, int32_t (*));
SLOT(aira_process_state, timed_out, 16, uint32_t (*));
SLOT(aira_process_state, reserved, 20, uint32_t (*));

GROWS(aira_process_service, 56);
SLOT(aira_process_service, size, 0, uint32_t (*));
SLOT(aira_process_service, minor, 4, uint32_t (*));
SLOT(aira_process_service, core, 8, void *(*));
SLOT(aira_process_service, run, 16, aira_status (*(*))(const struct aira_process_service *, const char *const *argv, uint32_t n_argv, const void *input, uint64_t n_input, const aira_process_limits *, char **output, uint64_t *n_output, aira_process_state *, int32_t (*cancelled)(void *), void *context));
SLOT(aira_process_service, spawn, 24, aira_status (*(*))(const struct aira_process_service *, const char *const *argv, uint32_t n_argv, const aira_process_limits *, uint64_t *handle));
SLOT(aira_process_service, poll, 32, aira_status (*(*))(const struct aira_process_service *, uint64_t handle, aira_process_state *));
SLOT(aira_process_service, kill, 40, aira_status (*(*))(const struct aira_process_service *, uint64_t handle));
SLOT(aira_process_service, forget, 48, void (*(*))(const struct aira_process_service *, uint64_t handle));

GROWS(aira_device_queue, 56);
SLOT(aira_device_queue, size, 0, uint32_t (*));
SLOT(aira_device_queue, reserved, 4, uint32_t (*));
SLOT(aira_device_queue, open, 8, aira_status (*(*))(void *self, void **queue));
SLOT(aira_device_queue, close, 16, void (*(*))(void *queue));
SLOT(aira_device_queue, upload, 24, aira_status (*(*))(void *queue, void *buffer, uint64_t offset, const void *from, uint64_t bytes));
SLOT(aira_device_queue, download, 32, aira_status (*(*))(void *queue, void *buffer, uint64_t offset, void *to, uint64_t bytes));
SLOT(aira_device_queue, run, 40, aira_status (*(*))(void *queue, void *program, void *const buffers[AIRA_N_BUFFERS], uint64_t seed));
SLOT(aira_device_queue, finish, 48, aira_status (*(*))(void *queue));

GROWS(aira_recording_service, 24);
SLOT(aira_recording_service, size, 0, uint32_t (*));
SLOT(aira_recording_service, minor, 4, uint32_t (*));
SLOT(aira_recording_service, core, 8, void *(*));
SLOT(aira_recording_service, answer, 16, aira_status (*(*))(const struct aira_recording_service *, const char *path, const aira_agent_request *request, const aira_sink *sink));

VALUE(AIRA_ABI_MAJOR, 1);
VALUE(AIRA_OK, 0);
VALUE(AIRA_E_FAILED, (-1));
VALUE(AIRA_E_CONFIG, (-2));
VALUE(AIRA_E_MEMORY, (-3));
VALUE(AIRA_E_UNSUPPORTED, (-4));
VALUE(AIRA_E_IO, (-5));
VALUE(AIRA_E_CANCELLED, (-6));
VALUE(AIRA_E_TIMEOUT, (-7));
VALUE(AIRA_E_CORRUPT, (-8));
VALUE(AIRA_E_DENIED, (-9));
VALUE(AIRA_F32, 1u);
VALUE(AIRA_F64, 2u);
VALUE(AIRA_BF16, 3u);
VALUE(AIRA_I32, 4u);
VALUE(AIRA_MAX_RANK, 8);
VALUE(AIRA_NORM_NONE, 0u);
VALUE(AIRA_NORM_RMS, 1u);
VALUE(AIRA_NORM_LAYER, 2u);
VALUE(AIRA_BACKBONE_BIDIRECTIONAL, 1u);
VALUE(AIRA_SPLIT_TRAIN, 0u);
VALUE(AIRA_SPLIT_SEARCH, 1u);
VALUE(AIRA_SPLIT_SELECTION, 2u);
VALUE(AIRA_SPLIT_TEST, 3u);
VALUE(AIRA_N_SPLITS, 4u);
VALUE(AIRA_IGNORE, (-100));
VALUE(AIRA_METRIC_ACCURACY, 1u);
VALUE(AIRA_METRIC_LOSS, 2u);
VALUE(AIRA_METRIC_BITS_PER_BYTE, 3u);
VALUE(AIRA_METRIC_ACCURACY_POOLED, 4u);
VALUE(AIRA_DATASET_IN_ORDER, 1u);
VALUE(AIRA_STORE_ARENA, 0u);
VALUE(AIRA_STORE_PERSISTENT, 1u);
VALUE(AIRA_STORE_IO, 2u);
VALUE(AIRA_STORE_CHAIN, 3u);
VALUE(AIRA_N_BUFFERS, 3u);
VALUE(AIRA_LEASE_RUNNING, 0u);
VALUE(AIRA_LEASE_DONE, 1u);
VALUE(AIRA_LEASE_FAILED, 2u);
VALUE(AIRA_EXECUTOR_ANSWERS, 1u);
VALUE(AIRA_PARAM_FP32, 1u);
VALUE(AIRA_PARAM_NO_DECAY, 2u);
VALUE(AIRA_PARAM_NO_REINIT, 4u);
VALUE(AIRA_PARAM_FROZEN, 8u);
VALUE(AIRA_CLASS_LEAF, 1u);
VALUE(AIRA_CLASS_ELEMENTWISE, 2u);
VALUE(AIRA_CLASS_CONTRACT, 3u);
VALUE(AIRA_CLASS_REDUCE, 4u);
VALUE(AIRA_CLASS_SHAPE, 5u);
VALUE(AIRA_CLASS_INDEX, 6u);
VALUE(AIRA_CLASS_COMPOSITE, 7u);
VALUE(AIRA_CLASS_EFFECT, 8u);
VALUE(AIRA_OP_PARAM, 1);
VALUE(AIRA_OP_INPUT, 2);
VALUE(AIRA_OP_CONSTANT, 3);
VALUE(AIRA_OP_IOTA, 4);
VALUE(AIRA_OP_RANDOM, 5);
VALUE(AIRA_OP_NEG, 16);
VALUE(AIRA_OP_EXP, 17);
VALUE(AIRA_OP_LOG, 18);
VALUE(AIRA_OP_SQRT, 19);
VALUE(AIRA_OP_RSQRT, 20);
VALUE(AIRA_OP_SIGMOID, 21);
VALUE(AIRA_OP_TANH, 22);
VALUE(AIRA_OP_SILU, 23);
VALUE(AIRA_OP_GELU, 24);
VALUE(AIRA_OP_RELU, 25);
VALUE(AIRA_OP_SOFTPLUS, 26);
VALUE(AIRA_OP_SIN, 27);
VALUE(AIRA_OP_COS, 28);
VALUE(AIRA_OP_ABS, 29);
VALUE(AIRA_OP_CAST, 30);
VALUE(AIRA_OP_ADD, 32);
VALUE(AIRA_OP_SUB, 33);
VALUE(AIRA_OP_MUL, 34);
VALUE(AIRA_OP_DIV, 35);
VALUE(AIRA_OP_MIN, 36);
VALUE(AIRA_OP_MAX, 37);
VALUE(AIRA_OP_POW, 38);
VALUE(AIRA_OP_EQ, 39);
VALUE(AIRA_OP_NE, 40);
VALUE(AIRA_OP_LT, 41);
VALUE(AIRA_OP_LE, 42);
VALUE(AIRA_OP_GT, 43);
VALUE(AIRA_OP_GE, 44);
VALUE(AIRA_OP_GELU_BACKWARD, 45);
VALUE(AIRA_OP_SILU_BACKWARD, 46);
VALUE(AIRA_OP_WHERE, 48);
VALUE(AIRA_OP_MATMUL, 64);
VALUE(AIRA_OP_SUM, 72);
VALUE(AIRA_OP_MAX_REDUCE, 73);
VALUE(AIRA_OP_CUMSUM, 74);
VALUE(AIRA_OP_RESHAPE, 80);
VALUE(AIRA_OP_TRANSPOSE, 81);
VALUE(AIRA_OP_SLICE, 82);
VALUE(AIRA_OP_CONCAT, 83);
VALUE(AIRA_OP_PAD, 84);
VALUE(AIRA_OP_BROADCAST, 85);
VALUE(AIRA_OP_GATHER, 96);
VALUE(AIRA_OP_SCATTER_ADD, 97);
VALUE(AIRA_OP_GATHER_LAST, 98);
VALUE(AIRA_OP_SCATTER_LAST, 99);
VALUE(AIRA_OP_TOP_K, 100);
VALUE(AIRA_OP_ARGSORT, 101);
VALUE(AIRA_OP_RMS_NORM, 128);
VALUE(AIRA_OP_RMS_NORM_BACKWARD, 129);
VALUE(AIRA_OP_LAYER_NORM, 130);
VALUE(AIRA_OP_LAYER_NORM_BACKWARD, 131);
VALUE(AIRA_OP_SOFTMAX, 132);
VALUE(AIRA_OP_SOFTMAX_BACKWARD, 133);
VALUE(AIRA_OP_ATTENTION, 134);
VALUE(AIRA_OP_ATTENTION_BACKWARD, 135);
VALUE(AIRA_OP_ROPE, 136);
VALUE(AIRA_OP_CONV1D_CAUSAL, 137);
VALUE(AIRA_OP_CONV1D_CAUSAL_BACKWARD, 138);
VALUE(AIRA_OP_SELECTIVE_SCAN, 139);
VALUE(AIRA_OP_SELECTIVE_SCAN_BACKWARD, 140);
VALUE(AIRA_OP_SSD, 141);
VALUE(AIRA_OP_SSD_BACKWARD, 142);
VALUE(AIRA_OP_FFT_CONV, 143);
VALUE(AIRA_OP_FFT_CONV_BACKWARD, 144);
VALUE(AIRA_OP_GROUPED_MATMUL, 145);
VALUE(AIRA_OP_GROUPED_WGRAD, 146);
VALUE(AIRA_OP_CROSS_ENTROPY, 147);
VALUE(AIRA_OP_CROSS_ENTROPY_BACKWARD, 148);
VALUE(AIRA_OP_HEAD_CROSS_ENTROPY, 149);
VALUE(AIRA_OP_HEAD_CROSS_ENTROPY_BACKWARD, 150);
VALUE(AIRA_OP_ASSIGN, 192);
VALUE(AIRA_OP_CHAIN, 255);
VALUE(AIRA_OPTIMIZER_MAX_STATES, 8);
VALUE(AIRA_LOG_DEBUG, 0);
VALUE(AIRA_LOG_INFO, 1);
VALUE(AIRA_LOG_WARN, 2);
VALUE(AIRA_LOG_ERROR, 3);
VALUE(AIRA_NOTE_TYPE, 1u);
VALUE(AIRA_PRIMITIVE_MIXES_TIME, 1u);
VALUE(AIRA_NODE_PENDING, 0u);
VALUE(AIRA_NODE_GOOD, 1u);
VALUE(AIRA_NODE_BUGGY, 2u);
VALUE(AIRA_OPERATOR_DRAFT, 0u);
VALUE(AIRA_OPERATOR_IMPROVE, 1u);
VALUE(AIRA_OPERATOR_DEBUG, 2u);
VALUE(AIRA_OPERATOR_CROSSOVER, 3u);
VALUE(AIRA_STANDING_NONE, 0u);
VALUE(AIRA_STANDING_PROVISIONAL, 1u);
VALUE(AIRA_STANDING_CONFIRMED, 2u);
VALUE(AIRA_ACT_ASK, 0u);
VALUE(AIRA_ACT_WAIT, 1u);
VALUE(AIRA_ACT_STOP, 2u);
VALUE(AIRA_ACT_PROPOSE, 3u);
VALUE(AIRA_SCAFFOLD_PROPOSES, 1u);
VALUE(AIRA_T_INT, 1u);
VALUE(AIRA_T_REAL, 2u);
VALUE(AIRA_T_BOOL, 3u);
VALUE(AIRA_T_STR, 4u);
VALUE(AIRA_T_CHOICE, 5u);
VALUE(AIRA_T_SEED, 6u);
VALUE(AIRA_T_COUNT, 7u);
VALUE(AIRA_T_BYTES, 8u);
VALUE(AIRA_T_DURATION, 9u);
VALUE(AIRA_T_FLOPS, 10u);
VALUE(AIRA_T_PATH, 11u);
VALUE(AIRA_T_LIST, 0x100u);
VALUE(AIRA_REQUIRED, 1u);
VALUE(AIRA_HTTP_ACCEPT, 0);
VALUE(AIRA_HTTP_RETRY, 1);
VALUE(AIRA_HTTP_LIMITED, 2);
VALUE(AIRA_HTTP_OVERLOADED, 3);
VALUE(AIRA_HTTP_REFUSED, 4);
VALUE(AIRA_HTTP_DENIED, 5);
VALUE(AIRA_JSON_NONE, 0);
VALUE(AIRA_JSON_NULL, 1);
VALUE(AIRA_JSON_BOOL, 2);
VALUE(AIRA_JSON_NUMBER, 3);
VALUE(AIRA_JSON_TEXT, 4);
VALUE(AIRA_JSON_LIST, 5);
VALUE(AIRA_JSON_OBJECT, 6);
