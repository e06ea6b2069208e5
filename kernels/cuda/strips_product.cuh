/* strips_product.cuh - p Wx, added to a tile's rows of a gradient: p has few columns and Wx is a weight, so that a
 * block multiplies its channels itself, on tensor cores, instead of reading them.
 *
 * Of a product of 16 x 8, rows are channels and columns times. Channels 2i and 2i + 1 are rows r and r + 8 of a thread,
 * that is one word of the tile; with four products a thread has four such neighbours, 16 bytes, of two times. */
#ifndef AIRA_GPU_STRIPS_PRODUCT_CUH
#define AIRA_GPU_STRIPS_PRODUCT_CUH

#include "mma.cuh"
#include "strips.cuh"

#define INNER 16 /* most columns of p: one product's sum */
#define EIGHTS 5 /* most eights of a tile's rows of a warp: 32 rows for each, and six more */
#define APART 4  /* pairs between the rows of a tile: 16 bytes of eight threads then lie on different banks */

/* p: [rows][columns], columns even; Wx: [columns][channel], from the block's first channel on. */
struct product_side {
    const half16 *p, *Wx;
    int columns;
};

/* Whether a gradient with GPU_PRODUCT has p and Wx for it: words of p's rows and 16 bytes of Wx's are read at once. */
static inline bool takes_product(const gpu_call *call) {
    const gpu_view *p = &call->in[4], *Wx = &call->in[5];
    int64_t columns = gpu_last(&p->shape), channels = call->in[0].shape.dims[2];
    return p->dtype == AIRA_BF16 && Wx->dtype == AIRA_BF16 && (uintptr_t)p->data % 4 == 0 &&
           (uintptr_t)Wx->data % 16 == 0 && channels % 8 == 0 && columns % 2 == 0 && columns <= INNER &&
           call->in[0].shape.dims[1] < INT32_MAX / INNER && p->n * channels == call->in[0].n * columns &&
           Wx->n == columns * channels;
}

static inline product_side product_of(const gpu_call *one) {
    return {(const half16 *)one->in[4].data, (const half16 *)one->in[5].data, (int)gpu_last(&one->in[4].shape)};
}

/* What a thread needs, on its way while a tile is. With g = lane / 4 and t = lane % 4: w: rows 2t, 2t + 1, 2t + 8 and
   2t + 9 of Wx, channels 8g to 8g + 7; p: columns 2t, 2t + 1 and 2t + 8, 2t + 9 of time g of an eight. */
struct product_pieces {
    uint4 w[4];
    uint32_t p[EIGHTS][2];
};

/* For a tile whose first row is of time t of the sequence whose times p begins with; a warp takes every warps-th eight
   of its rows. step: channels of Wx; left: of them from the block's first on. Zeros where nothing is. Before the tile's
   copies begin: behind them they would be put off until all of those have come. */
__device__ __forceinline__ void fetch_pieces(product_pieces &v, const product_side &from, int t, int rows, int t_n,
                                             int step, int left, int warp, int warps) {
    int g = (threadIdx.x & 31) / 4, k = threadIdx.x % 4 * 2, row = warp * 8 + g, columns = from.columns;
    int first = max(-t, 0), n = left > 0 ? max(min(rows, t_n - t) - first, 0) : 0; /* rows that are there */
    int low = k < columns ? n : 0, high = k + 8 < columns ? n : 0;
    uint32_t at = (uint32_t)((t + row) * columns + k); /* places without a sign take the fewest instructions */
#pragma unroll
    for (int j = 0; j < EIGHTS; j++) {
        const half16 *p = from.p + at;
        uint32_t u = (uint32_t)(row - first);
        v.p[j][0] = u < (uint32_t)low ? *(const uint32_t *)p : 0;
        v.p[j][1] = u < (uint32_t)high ? *(const uint32_t *)(p + 8) : 0;
        at += (uint32_t)(warps * 8 * columns);
        row += warps * 8;
    }
    at = (uint32_t)(k * step + g * 8);
#pragma unroll
    for (int j = 0; j < 4; j++) {
        bool there = k + j % 2 + j / 2 * 8 < columns && g * 8 < left;
        v.w[j] = there ? *(const uint4 *)(from.Wx + at) : uint4{};
        at += (uint32_t)(j == 1 ? 7 * step : step);
    }
}

/* w's channels of a pair as a left operand. */
__device__ __forceinline__ void channels_of(uint32_t *a, uint32_t w0, uint32_t w1, uint32_t w2, uint32_t w3) {
    a[0] = __byte_perm(w0, w1, 0x5410);
    a[1] = __byte_perm(w0, w1, 0x7632);
    a[2] = __byte_perm(w2, w3, 0x5410);
    a[3] = __byte_perm(w2, w3, 0x7632);
}

/* Two channels of the product, rounded to bf16 as a gradient in memory would be, and added. */
__device__ __forceinline__ uint32_t plus(uint32_t pair, float low, float high) {
    uint32_t product = pack2(low, high);
    __nv_bfloat162 sum = __hadd2(*(__nv_bfloat162 *)&pair, *(__nv_bfloat162 *)&product);
    return *(uint32_t *)&sum;
}

/* to: the tile's rows, PAIRS + APART pairs apart. */
__device__ __forceinline__ void add_product(__nv_bfloat162 *to, const product_pieces &v, int rows, int warp,
                                            int warps) {
    int lane = threadIdx.x & 31, g = lane / 4, t = lane % 4;
    uint32_t a[4][4];
    channels_of(a[0], v.w[0].x, v.w[1].x, v.w[2].x, v.w[3].x);
    channels_of(a[1], v.w[0].y, v.w[1].y, v.w[2].y, v.w[3].y);
    channels_of(a[2], v.w[0].z, v.w[1].z, v.w[2].z, v.w[3].z);
    channels_of(a[3], v.w[0].w, v.w[1].w, v.w[2].w, v.w[3].w);
#pragma unroll
    for (int n = 0; n < EIGHTS; n++) {
        int first = (warp + n * warps) * 8;
        if (first >= rows) break; /* the warp's threads agree */
        float c[4][4];
#pragma unroll
        for (int k = 0; k < 4; k++) begin_k16(c[k], a[k], v.p[n][0], v.p[n][1]);
#pragma unroll
        for (int k = 0; k < 2; k++) {
            int row = first + 2 * t + k;
            if (row >= rows) continue; /* of the tile before, or nobody's */
            uint4 *at = (uint4 *)(to + row * (PAIRS + APART) + g * 4), sum = *at;
            sum.x = plus(sum.x, c[0][k], c[0][2 + k]);
            sum.y = plus(sum.y, c[1][k], c[1][2 + k]);
            sum.z = plus(sum.z, c[2][k], c[2][2 + k]);
            sum.w = plus(sum.w, c[3][k], c[3][2 + k]);
            *at = sum;
        }
    }
}

#endif
