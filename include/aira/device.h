/* aira/device.h - where planned graphs run.
 *
 * The host plans: it orders the steps, expands composites that the device does not own, fuses elementwise chains,
 * and places every tensor in one of three buffers. The device compiles a plan into a program and runs it.
 *
 * Buffers of a program: ARENA (temporaries), PERSISTENT (variables: parameters, optimizer state), IO (inputs and
 * outputs, reachable by upload and download). A tensor of storage CHAIN lives only inside a chain step.
 *
 * Stacking: a step with copies K runs K independent times; operand j of copy c begins at
 * offset + c * bytes(shape) if the tensor has copies K, and at offset if it has copies 1 (shared).
 *
 * Reuse: an elementwise step or chain may have a result lie exactly on an operand that dies with it; a device loads
 * what a tile reads before it stores the tile.
 *
 * Determinism: results must not depend on the number of threads, on copies, or on neighbours: tiles and reduction
 * orders follow from shapes alone.
 */
#ifndef AIRA_DEVICE_H
#define AIRA_DEVICE_H

#include "op_table.h"
#include "plugin.h"

#define AIRA_STORE_ARENA 0u
#define AIRA_STORE_PERSISTENT 1u
#define AIRA_STORE_IO 2u
#define AIRA_STORE_CHAIN 3u
#define AIRA_N_BUFFERS 3u

typedef struct aira_plan_tensor {
    uint32_t size, dtype;
    uint32_t storage, copies; /* copies: 1 or the plan's K */
    uint64_t offset;          /* bytes into the buffer, multiple of 64 except for aliases of slices */
    aira_shape shape;
} aira_plan_tensor;

typedef struct aira_plan_step aira_plan_step;
struct aira_plan_step {
    uint32_t size, op; /* AIRA_OP_x */
    uint32_t n_in, n_out;
    uint32_t n_i, n_f;
    uint32_t copies;
    uint32_t n_chain;   /* AIRA_OP_CHAIN: inner steps */
    uint32_t block;     /* index + 1 of the block this step belongs to, 0: none */
    uint32_t backward;  /* 1: belongs to the block's backward */
    const uint32_t *in; /* tensor ids; an ASSIGN's operand is in[0], its target tensor out[0] */
    const uint32_t *out;
    const int64_t *i; /* attributes in the op table's order */
    const double *f;
    const aira_plan_step
        *chain; /* inner steps: elementwise (and ASSIGN), executed in order, all results of one shape */
};

/* A block: norm + primitive + residual, in place. Steps that belong to it carry its index. */
typedef struct aira_plan_block {
    uint32_t size, layer;
    const char *primitive; /* plugin id */
    const char *config;    /* canonical JSON of the primitive's configuration */
    uint32_t norm, reserved;
} aira_plan_block;

typedef struct aira_plan {
    uint32_t size, copies; /* K */
    uint32_t n_tensors, n_steps, n_blocks;
    uint32_t tensor_stride, step_stride, block_stride;
    const aira_plan_tensor *tensors;
    const aira_plan_step *steps; /* in execution order */
    const aira_plan_block *blocks;
    uint64_t bytes[AIRA_N_BUFFERS];
    uint64_t seed_offset; /* reserved: 0 */
} aira_plan;

typedef struct aira_device_info {
    uint32_t size, threads;
    char name[64];         /* "AMD EPYC 9xx4, 2 threads" */
    char isa[32];          /* "avx2", "avx512", "amx", "reference" */
    uint64_t memory_bytes; /* usable; 0 unknown */
    uint64_t memory_taken; /* of it by this process now: buffers, programs and what they work in; 0 unknown */
} aira_device_info;

typedef struct aira_device {
    uint32_t size, flags;
    /* NULL when this machine can run the device, else a constant sentence why not. [any thread] */
    const char *(*unavailable)(void);
    aira_status (*info)(void *self, aira_device_info *info);
    /* 1: the device runs this op natively with these element types; 0: the host expands it (composites only).
       tensors: operands, then results. [any thread] */
    int32_t (*supports)(void *self, uint32_t op, const aira_plan_tensor *tensors, uint32_t n_in, uint32_t n_out,
                        const int64_t *i, uint32_t n_i);
    /* Zeroed memory of the device. [one call per self] */
    aira_status (*buffer_create)(void *self, uint64_t bytes, void **buffer);
    void (*buffer_destroy)(void *self, void *buffer);
    aira_status (*upload)(void *self, void *buffer, uint64_t offset, const void *from, uint64_t bytes);
    aira_status (*download)(void *self, void *buffer, uint64_t offset, void *to, uint64_t bytes);
    /* The plan stays valid until program_destroy. */
    aira_status (*compile)(void *self, const aira_plan *plan, void **program);
    void (*program_destroy)(void *self, void *program);
    /* Runs the program once; buffers by AIRA_STORE_x. Returns when results can be downloaded. seed: xor-ed into RANDOM
     * keys. */
    aira_status (*run)(void *self, void *program, void *const buffers[AIRA_N_BUFFERS], uint64_t seed);
} aira_device;

#endif
