/* turn.cu - transposed copies of bf16 matrices (turned.h): tiles of 64 x 64 through shared memory, eight neighbours a
 * read and a write where both extents are multiples of 8.
 */
#include <cuda_bf16.h>

#include "turned.h"

#define TILE 64
#define PITCH 66 /* elements of a row in shared memory: neighbouring rows begin in other banks */

template <bool EIGHTS>
__global__ void __launch_bounds__(256) turn(uint16_t *to, const uint16_t *from, int rows, int columns) {
    __shared__ uint16_t tile[TILE][PITCH];
    int first_row = blockIdx.y * TILE, first_column = blockIdx.x * TILE;
    constexpr int EACH = EIGHTS ? 8 : 1, ACROSS = TILE / EACH, STEP = 256 / ACROSS;
    int c = (int)threadIdx.x % ACROSS * EACH;
    for (int r = threadIdx.x / ACROSS; r < TILE; r += STEP) {
        if (first_row + r >= rows || first_column + c >= columns) continue;
        const uint16_t *at = from + (int64_t)(first_row + r) * columns + first_column + c;
        if (EIGHTS) {
            uint4 x = *(const uint4 *)at;
            uint32_t *pairs = (uint32_t *)&tile[r][c]; /* r * 66 + c is even */
            pairs[0] = x.x, pairs[1] = x.y, pairs[2] = x.z, pairs[3] = x.w;
        } else {
            tile[r][c] = *at;
        }
    }
    __syncthreads();
    for (int r = threadIdx.x / ACROSS; r < TILE; r += STEP) { /* of the result: a column of the tile */
        if (first_column + r >= columns || first_row + c >= rows) continue;
        uint16_t *at = to + (int64_t)(first_column + r) * rows + first_row + c;
        if (EIGHTS) {
            uint32_t y[4];
#pragma unroll
            for (int k = 0; k < 4; k++) y[k] = tile[c + 2 * k][r] | (uint32_t)tile[c + 2 * k + 1][r] << 16;
            *(uint4 *)at = make_uint4(y[0], y[1], y[2], y[3]);
        } else {
            *at = tile[c][r];
        }
    }
}

static const char *run(const gpu_call *call) {
    const gpu_view *x = &call->in[0], *y = &call->out[0];
    int64_t rows = x->shape.dims[0], columns = x->shape.dims[1];
    if (x->n == 0) return NULL;
    dim3 grid((unsigned)((columns + TILE - 1) / TILE), (unsigned)((rows + TILE - 1) / TILE));
    if (grid.y > 65535) return "a matrix of more rows than the cuda device turns";
    bool eights = rows % 8 == 0 && columns % 8 == 0 && (uintptr_t)x->data % 16 == 0 && (uintptr_t)y->data % 16 == 0;
    if (eights)
        turn<true>
            <<<grid, 256, 0, call->stream>>>((uint16_t *)y->data, (const uint16_t *)x->data, (int)rows, (int)columns);
    else
        turn<false>
            <<<grid, 256, 0, call->stream>>>((uint16_t *)y->data, (const uint16_t *)x->data, (int)rows, (int)columns);
    return gpu_launched();
}

extern "C" const gpu_kernel gpu_turn_kernel = {AIRA_OP_TRANSPOSE, run, NULL};
