/* linear_groups.cuh - rows through small products on sm_90a: what linear.cuh does, by groups of four warps and wgmma.
 *
 * A block owns 128 rows, each of its two groups 64, a warp 16, whole, from end to end. All that comes from memory
 * passes through a ring of three stages, requested two ahead, in this order: of each 64 of K of a sum the weights and
 * the left operand's rows, then x (of a norm's gradient alone), then the residual (where there is no sum, the rows
 * themselves instead of all these), then weights of 128 columns of a fanned product. Both groups multiply by the same
 * weights.
 *
 * Tiles lie in panels of 64 columns in the 128-byte swizzle. A fanned product is multiplied 64 columns at a time: while
 * the tensor cores are at one tile, the columns before it are finished and stored from registers. For that a thread
 * should hold neighbours: weights that lie [N][K] change the order of their rows on the way (column 32 i + 8 t + 2 j +
 * e of a product becomes 32 i + 8 j + 2 t + e of the tile, which is thread t's of each quad), else a quad turns its
 * words.
 *
 * Sums over rows are left for each group: of 64 rows, so that they lie as those of linear.cuh. Rounding is as there.
 */
#ifndef AIRA_GPU_LINEAR_GROUPS_CUH
#define AIRA_GPU_LINEAR_GROUPS_CUH

#include "linear.cuh"
#include "wgmma.cuh"

#define GROUPS_ROWS (2 * GPU_LINEAR_ROWS)
#define GROUPS_THREADS 256
#define GROUPS_STAGES 3
#define GROUPS_FAN 128     /* columns of a stage */
#define GROUPS_BIASES 2688 /* of all fanned products, each whole stages: more than 2,048 + 5 x 127 */
#define ONES 0x3f803f80u   /* two of bf16 */

/* Shared memory: the ring, then what every row needs, then sums of warps. */
template <int D, bool SUMS> struct groups_shared {
    static constexpr int CHUNK = D * 64; /* elements of weights of 64 of K; the rows' 64 columns follow */
    static constexpr int WIDE = GROUPS_ROWS * D, NARROW = CHUNK + GROUPS_ROWS * 64;
    static constexpr int STAGE = SUMS && NARROW > WIDE ? NARROW : WIDE;
    half16 ring[GROUPS_STAGES][STAGE];
    half16 fan_bias[GROUPS_BIASES];
    half16 bias[D];
    float slope_w[D], norm_w[D], dw[GROUPS_THREADS / 32][D];
};

/* --- memory --- */

/* 16 bytes to an address of shared memory; zeros, and nothing is read, where it is not `there`. */
__device__ __forceinline__ void copy_16_to(uint32_t to, const half16 *from, bool there) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(there ? 16 : 0) : "memory");
}

/* ROWS x COLUMNS elements from memory, `pitch` apart, into panels; zeros beyond what is there. */
template <int ROWS, int COLUMNS>
__device__ __forceinline__ void copy_rows(half16 *to, const half16 *from, int pitch, int rows, int columns) {
    constexpr int PARTS = COLUMNS / 8, PASS = GROUPS_THREADS / PARTS; /* rows that all threads copy at once */
    int row = threadIdx.x / PARTS, part = threadIdx.x % PARTS, left = part * 8 < columns ? rows - row : 0;
    uint32_t at = shared_address(to + (part / 8 * ROWS + row) * 64 + (part % 8 ^ row % 8) * 8);
    from += row * (int64_t)pitch + part * 8;
#pragma unroll
    for (int i = 0; i < ROWS; i += PASS) copy_16_to(at + i * 128, from + i * (int64_t)pitch, i < left);
}

/* 128 rows of `columns` of 64, an even number that is no multiple of 8, as copy_rows does. */
__device__ __forceinline__ void copy_words(half16 *to, const half16 *from, int pitch, int rows, int columns) {
    int column = 2 * (threadIdx.x % 32), row = threadIdx.x / 32, left = column < columns ? rows - row : 0;
    to += row * 64 + (column / 8 ^ row) * 8 + column % 8; /* row < 8: the same place in each eight */
    from += row * (int64_t)pitch + column;
#pragma unroll 4
    for (int i = 0; i < GROUPS_ROWS; i += 8, from += 8 * (int64_t)pitch) copy_4(to + i * 64, from, i < left);
}

/* Which 8 of the 64 columns of a tile that lay [N][K] are in thread t's words 4 i + 0..3. Partners in a head of 16 or
   more columns should be words 4 apart of one thread: step is half a head, in eights, or 4. */
__device__ __forceinline__ int eight_of(int t, int i, int step) { return t + (t & -step) + i * step; }
__device__ __forceinline__ int step_of(const linear_rows &p, int product) {
    return (p.turned >> product & 1) && p.head > 8 ? p.head / 16 : 4;
}

/* 128 columns of a fanned product's weights. Columns beyond its last are left as they are: nobody stores them. */
template <int D, bool TRANS>
__device__ __forceinline__ void copy_fan(half16 *to, const linear_rows &p, linear_place at) {
    constexpr int PARTS = D / 8, PASS = GROUPS_THREADS / PARTS;
    int n = p.n[at.product], left = n - at.at;
    const half16 *w = p.fan_w[at.product];
    if constexpr (!TRANS) {
        copy_rows<D, GROUPS_FAN>(to, w + at.at, n, D, left);
    } else {
        int part = threadIdx.x % PARTS, row = threadIdx.x / PARTS, step = step_of(p, at.product);
        int column = eight_of(row % 8 / 2, 0, step) * 8 + row / 8 % 4 * 2 + row % 2;
        uint32_t place = shared_address(to + (part / 8 * 64 + row) * 64 + (part % 8 ^ row % 8) * 8);
        w += (int64_t)at.at * D + column * D + part * 8;
#pragma unroll
        for (int k = 0; k < 64; k += 32, column += 8 * step, w += 8 * step * D) /* rows k.. and 64 + k.. */
#pragma unroll
            for (int i = 0; i < 2 * 32; i += PASS) {
                int more = i / 32 * 64 + i % 32 / 8 * 2, below = i / 32 * 64 * D + (k + i % 32) * 64; /* elements */
                if (column + more < left) copy_16_to(place + below * 2, w + more * D, true);
            }
    }
}

/* 64 of K of a sum: weights, and the rows' columns. */
template <int D, bool TRANS>
__device__ __forceinline__ void copy_chunk(half16 *to, const linear_rows &p, int64_t first, int there,
                                           linear_place at) {
    int k = p.k[at.product], left = k - at.at;
    const half16 *w = p.w[at.product], *a = p.a[at.product] + first * k + at.at;
    half16 *rows = to + D * 64;
    if (TRANS)
        copy_rows<D, 64>(to, w + at.at, k, D, left);
    else
        copy_rows<64, D>(to, w + (int64_t)at.at * D, D, left, D);
    if (k % 8)
        copy_words(rows, a, k, there, left);
    else
        copy_rows<GROUPS_ROWS, 64>(rows, a, k, there, left);
}

/* This lane's row of the matrices of columns 16 k.. of the warp's 16 rows, in a tile of 128 rows. */
__device__ __forceinline__ half16 *own_at(half16 *tile, int k) {
    int row = threadIdx.x / 32 * 16 + (threadIdx.x & 15), part = k % 4 * 2 + (threadIdx.x >> 4 & 1);
    return tile + (k / 4 * GROUPS_ROWS + row) * 64 + (part ^ row % 8) * 8;
}

/* The warp's 16 rows of a tile to memory, 16 bytes a lane. */
template <int D> __device__ __forceinline__ void store_own(half16 *to, const half16 *tile, int there) {
    constexpr int PARTS = D / 8, PASS = 32 / PARTS; /* rows that a warp stores at once */
    int lane = threadIdx.x & 31, row = threadIdx.x / 32 * 16 + lane / PARTS, part = lane % PARTS;
    int at = (part / 8 * GROUPS_ROWS + row) * 64 + (part % 8 ^ row % 8) * 8;
    __syncwarp();
#pragma unroll
    for (int i = 0; i < 16; i += PASS) { /* row + i: i % 8 where row % 8 has zeros */
        uint4 v = *(const uint4 *)(tile + (at ^ i % 8 * 8) + i * 64);
        if (lane / PARTS + i < there) *(uint4 *)(to + lane * 8 + i * D) = v;
    }
    __syncwarp();
}

/* --- sums --- */

__device__ __forceinline__ void settle(float (*c)[4], int n) {
#pragma unroll
    for (int k = 0; k < n; k++)
#pragma unroll
        for (int e = 0; e < 4; e++) group_settle(c[k][e]);
}

/* A descriptor of what begins `elements` of bf16 further, a multiple of 8. */
__device__ __forceinline__ uint64_t further(uint64_t tile, int elements) { return tile + elements / 8; }

/* Starts sum[64 x D] += the group's rows of the chunk times its weights. */
template <int D, bool TRANS>
__device__ __forceinline__ void multiply_chunk(float (*sum)[4], uint32_t (*left)[4], half16 *stage) {
#pragma unroll
    for (int k = 0; k < 4; k++) load_matrices(left[k], own_at(stage + D * 64, k));
    settle(sum, D / 8);
    group_fence();
    uint64_t tile = group_tile(stage);
#pragma unroll
    for (int k = 0; k < 64; k += 16)
#pragma unroll
        for (int n = 0; n < D; n += 64) {
            if (TRANS)
                group_multiply_rows(sum[n / 8], left[k / 16], further(tile, n * 64 + k));
            else
                group_multiply(sum[n / 8], left[k / 16], further(tile, (n / 64 * 64 + k) * 64));
        }
    group_close();
}

/* to[0..columns) = sums over the group's 64 rows of 64 columns of a panel, a product with ones; a warp does 16. */
__device__ __forceinline__ void add_columns(float *to, const half16 *panel, int columns) {
    const uint32_t ones[4] = {ONES, ONES, ONES, ONES};
    int lane = threadIdx.x & 31, quarter = threadIdx.x / 32 % 4, part = quarter * 2 + lane / 16;
    float c[2][4] = {};
    panel += (threadIdx.x / 128 * 64 + lane % 16) * 64 + (part ^ lane % 8) * 8;
#pragma unroll
    for (int k = 0; k < 64; k += 16) {
        uint32_t right[4];
        load_transposed(right, panel + k * 64);
        multiply_k16(c[0], ones, right[0], right[1]);
        multiply_k16(c[1], ones, right[2], right[3]);
    }
    int column = quarter * 16 + lane / 4 * 8 + lane % 4 * 2; /* all rows are the same: four lanes for either eight */
    float low = lane < 4 ? c[0][0] : c[1][0], high = lane < 4 ? c[0][1] : c[1][1];
    if (lane < 8 && column < columns) *(float2 *)(to + column) = make_float2(low, high);
}

/* What follows a sum without a norm's gradient: [bias, residual], rounded, into `out`, which held the residual. */
template <int D>
__device__ __forceinline__ void end_sum(bool more, const half16 *bias, uint32_t (*rows)[4], const float (*sum)[4],
                                        half16 *out) {
    bias += 2 * (threadIdx.x & 3);
#pragma unroll
    for (int k = 0; k < D / 16; k++) {
        uint32_t add[4] = {0, 0, 0, 0};
        if (more) load_matrices(add, own_at(out, k));
#pragma unroll
        for (int e = 0; e < 4; e++) {
            int n = 2 * k + e / 2, r = e % 2;
            uint32_t b = *(const uint32_t *)(bias + 8 * n);
            float low = sum[n][2 * r] + low_of(b) + low_of(add[e]),
                  high = sum[n][2 * r + 1] + high_of(b) + high_of(add[e]);
            rows[k][e] = pack2(low, high);
        }
        store_matrices(own_at(out, k), rows[k]);
    }
}

/* With g the sum and n = x s: s (w g - n mean(w g n)) [+ residual], and the weights' sums over these rows. */
template <int D>
__device__ __forceinline__ void end_slope(bool more, float eps, const float *w, uint32_t (*rows)[4],
                                          const float (*sum)[4], half16 *x, half16 *out, float *dw) {
    float scale[2] = {0, 0}, dot[2] = {0, 0};
    w += 2 * (threadIdx.x & 3);
#pragma unroll
    for (int k = 0; k < D / 16; k++) {
        uint32_t pairs[4];
        load_matrices(pairs, own_at(x, k));
#pragma unroll
        for (int e = 0; e < 4; e++) {
            int n = 2 * k + e / 2, r = e % 2;
            float2 weight = *(const float2 *)(w + 8 * n);
            float low = low_of(pairs[e]), high = high_of(pairs[e]);
            scale[r] += low * low + high * high;
            dot[r] += weight.x * sum[n][2 * r] * low + weight.y * sum[n][2 * r + 1] * high;
        }
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
        scale[r] = rsqrtf(quad_sum(scale[r]) / (float)D + eps);
        dot[r] = quad_sum(dot[r]) * scale[r] * scale[r] / (float)D;
    }
    if (more) {
        copy_wait<1>();
        __syncthreads(); /* the residual is there */
    }
#pragma unroll
    for (int half = 0; half < D; half += 64) { /* 64 columns */
        float weights[16];
#pragma unroll
        for (int c = 0; c < 4; c++) {
            int k = half / 16 + c;
            uint32_t pairs[4], add[4] = {0, 0, 0, 0};
            load_matrices(pairs, own_at(x, k));
            if (more) load_matrices(add, own_at(out, k));
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int n = 2 * k + e / 2, r = e % 2, at = 4 * c + e / 2 * 2;
                float2 weight = *(const float2 *)(w + 8 * n);
                float low = low_of(pairs[e]), high = high_of(pairs[e]), g0 = sum[n][2 * r], g1 = sum[n][2 * r + 1];
                float part0 = g0 * low * scale[r], part1 = g1 * high * scale[r];
                weights[at] = r ? weights[at] + part0 : part0;
                weights[at + 1] = r ? weights[at + 1] + part1 : part1;
                low = scale[r] * (weight.x * g0 - low * dot[r]) + low_of(add[e]);
                high = scale[r] * (weight.y * g1 - high * dot[r]) + high_of(add[e]);
                rows[k][e] = pack2(low, high);
            }
            store_matrices(own_at(out, k), rows[k]);
        }
        int at = add_rows<64>(weights);
        *(float2 *)(dw + half + at / 2 * 8 + 2 * (threadIdx.x & 3)) = make_float2(weights[0], weights[1]);
    }
}

/* --- fanned products: value (n, 2 r + e) of a thread is row g + 8 r, column 8 eight_of(t, n / 4) + 2 (n % 4) + e
   (TRANS), or column 8 n + 2 t + e --- */

/* The product's sum begins as its bias, or as anything that will not be added to. */
template <bool TRANS>
__device__ __forceinline__ void begin_fan(float (*y)[4], bool biased, const half16 *bias, int step) {
    int t = threadIdx.x & 3;
#pragma unroll
    for (int n = 0; n < 8 && !biased; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) asm volatile("" : "=f"(y[n][e])); /* what it was does not last */
    if (!biased) return;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        uint32_t words[4];
        if (TRANS) *(uint4 *)words = *(const uint4 *)(bias + 8 * eight_of(t, i, step));
#pragma unroll
        for (int j = 0; j < 4; j++) {
            if (!TRANS) words[j] = *(const uint32_t *)(bias + 32 * i + 8 * j + 2 * t);
            y[4 * i + j][0] = y[4 * i + j][2] = low_of(words[j]);
            y[4 * i + j][1] = y[4 * i + j][3] = high_of(words[j]);
        }
    }
}

/* c[64 x 64] = [c +] a[64 x 16] b: as group_multiply, or group_multiply_rows (TRANS). */
template <bool TRANS>
__device__ __forceinline__ void multiply_step(float (*c)[4], const uint32_t *a, uint64_t b, int add) {
#define ROW4(n) "+f"(c[n][0]), "+f"(c[n][1]), "+f"(c[n][2]), "+f"(c[n][3])
    GROUP_ASM("{ .reg .pred add; setp.ne.b32 add, %37, 0;\n"
              "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, "
              "%12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
              "{%32, %33, %34, %35}, %36, add, 1, 1, %38; }"
              : ROW4(0), ROW4(1), ROW4(2), ROW4(3), ROW4(4), ROW4(5), ROW4(6), ROW4(7)
              : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add), "n"(TRANS ? 0 : 1));
#undef ROW4
}

/* Starts y[64 x 64] = [y +] the group's rows, packed, times the tile. */
template <int D, bool TRANS>
__device__ __forceinline__ void multiply_fan(float (*y)[4], const uint32_t (*rows)[4], uint64_t tile, int add) {
    settle(y, 8);
    group_fence();
#pragma unroll
    for (int k = 0; k < D; k += 16)
        multiply_step<TRANS>(y, rows[k / 16], further(tile, TRANS ? k / 64 * 64 * 64 + k % 64 : k * 64), k > 0 || add);
    group_close();
}

/* Two neighbours, and their partners, turned and rounded. */
__device__ __forceinline__ void turn_words(uint32_t &to_low, uint32_t &to_high, const float *low, const float *high,
                                           float4 turn) {
    to_low = pack2(low[0] * turn.x - high[0] * turn.y, low[1] * turn.z - high[1] * turn.w);
    to_high = pack2(high[0] * turn.x + low[0] * turn.y, high[1] * turn.z + low[1] * turn.w);
}

/* words[n] of values y[n][2 r], [2 r + 1]: rounded. */
__device__ __forceinline__ void round_fan(uint32_t *words, const float (*y)[4], int r) {
#pragma unroll
    for (int n = 0; n < 8; n++) words[n] = pack2(y[n][2 * r], y[n][2 * r + 1]);
}

/* The same of heads that lie as eight_of tells, turned. turns: of the row's position. */
__device__ __forceinline__ void turn_fan(uint32_t *words, const float (*y)[4], int r, int head, const float2 *turns) {
    if (head == 8) {
#pragma unroll
        for (int j = 0; j < 2; j++) {
            float4 turn = *(const float4 *)(turns + 2 * j);
#pragma unroll
            for (int n = j; n < 8; n += 4) turn_words(words[n], words[n + 2], &y[n][2 * r], &y[n + 2][2 * r], turn);
        }
    } else {
        turns += 8 * (threadIdx.x & 3) & (head / 2 - 1);
#pragma unroll
        for (int n = 0; n < 4; n++)
            turn_words(words[n], words[n + 4], &y[n][2 * r], &y[n + 4][2 * r], *(const float4 *)(turns + 2 * n));
    }
}

/* 64 columns of a fanned product: positions, and to memory. first: the warp's first row; there: how many exist. */
template <bool TRANS>
__device__ __forceinline__ void end_fan(const linear_rows &p, linear_place at, const float (*y)[4],
                                        const uint32_t *turns, int first, int there) {
    int g = (threadIdx.x & 31) / 4, t = threadIdx.x & 3, n = p.n[at.product], step = TRANS ? step_of(p, at.product) : 4;
    if (at.at >= n) return;
    int column = at.at + 8 * eight_of(t, 0, step), left = n - column;
    half16 *to = p.y[at.product] + (int64_t)(first + g) * n + column;
#pragma unroll
    for (int r = 0; r < 2; r++, to += 8 * n) {
        uint32_t words[8];
        if (TRANS && (p.turned >> at.product & 1))
            turn_fan(words, y, r, p.head, p.turns + turns[r]);
        else
            round_fan(words, y, r);
        bool is_row = g + 8 * r < there;
        if (!TRANS || n % 8 == 0) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                uint32_t *word = words + 4 * i;
                if (!TRANS) quad_transpose(word);
                if (is_row && 8 * i * step < left)
                    *(uint4 *)(to + 8 * i * step) = make_uint4(word[0], word[1], word[2], word[3]);
            }
        } else {
#pragma unroll
            for (int j = 0; j < 8; j++) {
                int more = j / 4 * 8 * step + j % 4 * 2;
                if (is_row && more < left) *(uint32_t *)(to + more) = words[j];
            }
        }
    }
}

/* --- the whole --- */

/* Copies what every row needs: it is there with number 0 of the ring, or 1 where there are sums. */
template <int D, bool SUMS>
__device__ __forceinline__ void copy_vectors(const linear_rows &p, groups_shared<D, SUMS> *s) {
    int c = threadIdx.x;
    if (p.norm_w && c < D) copy_4(s->norm_w + c, p.norm_w + c, true);
    if (SUMS && p.slope_w && c < D) copy_4(s->slope_w + c, p.slope_w + c, true);
    if (SUMS && c < D / 2) copy_4(s->bias + 2 * c, p.bias ? p.bias + 2 * c : p.a[0], p.bias);
    half16 *to = s->fan_bias;
    for (int j = 0; j < p.fans; j++) {
        const half16 *bias = p.fan_bias[j];
        if (!bias) continue;
        int n = p.n[j];
#pragma unroll 1
        for (c = 2 * threadIdx.x; c < n; c += 2 * GROUPS_THREADS) copy_4(to + c, bias + c, true);
        to += (n + GROUPS_FAN - 1) / GROUPS_FAN * GROUPS_FAN;
    }
}

/* Sums over rows that the whole block had to finish: of r, and of the norm's weights. */
template <int D, bool SUMS>
__device__ __forceinline__ void leave_sums(const linear_rows &p, groups_shared<D, SUMS> *s, const half16 *r,
                                           float *to) {
    __syncthreads();
    for (int c = 0; to && c < D && p.columns_at[GPU_LINEAR_MOST] >= 0; c += 64)
        add_columns(to + p.columns_at[GPU_LINEAR_MOST] + c, r + c * GROUPS_ROWS, 64);
    int c = threadIdx.x % 128, warp = threadIdx.x / 128 * 4;
    if (to && p.slope_w && c < D) to[c] = s->dw[warp][c] + s->dw[warp + 1][c] + s->dw[warp + 2][c] + s->dw[warp + 3][c];
    __syncthreads();
}

/* A block's rows, and what of all that passes through the ring is to be requested next. */
struct groups_work {
    int block, first;       /* first row of the block, of the warp */
    int block_there, there; /* rows of them that exist */
    int chunks, fans;       /* numbers in the ring: of 64 of K each, of all sums; where fanned products begin */
    linear_place chunk, fan;
};

/* The next 128 columns of fanned products, or nothing where all were requested. */
template <int D, bool TRANS>
__device__ __forceinline__ void request_fan(const linear_rows &p, groups_work *b, half16 *stage) {
    if (b->fan.product < p.fans) {
        copy_fan<D, TRANS>(stage, p, b->fan);
        b->fan.at += GROUPS_FAN;
        if (b->fan.at >= p.n[b->fan.product]) b->fan.product++, b->fan.at = 0;
    }
}

/* Number i of the ring. */
template <int D, bool SUMS, bool TRANS>
__device__ __forceinline__ void request(const linear_rows &p, groups_work *b, half16 *stage, int i) {
    if (SUMS && i < b->chunks) {
        copy_chunk<D, TRANS>(stage, p, b->block, b->block_there, b->chunk);
        b->chunk.at += 64;
        if (b->chunk.at >= p.k[b->chunk.product]) b->chunk.product++, b->chunk.at = 0;
    } else if (i < b->fans) {
        const half16 *from = !SUMS ? p.r : i == b->fans - 1 ? p.residual : p.x;
        if (from) copy_rows<GROUPS_ROWS, D>(stage, from + (int64_t)b->block * D, D, b->block_there, D);
    } else {
        request_fan<D, TRANS>(p, b, stage);
    }
}

/* sum[64 x D] of all products, for each group. */
template <int D, bool TRANS>
__device__ __forceinline__ void add_products(const linear_rows &p, groups_shared<D, true> *s, groups_work *b,
                                             float (*sum)[4], float *partial) {
    linear_place at = {0, 0};
    for (int i = 0; i < b->chunks; i++) {
        half16 *stage = s->ring[i % GROUPS_STAGES];
        uint32_t left[4][4];
        if (i)
            copy_wait<1>();
        else
            copy_wait<2>();
        group_sees_copies();
        __syncthreads(); /* chunk i is there, and nobody reads the one before */
        multiply_chunk<D, TRANS>(sum, left, stage);
        if (i) request<D, true, TRANS>(p, b, s->ring[(i + 2) % GROUPS_STAGES], i + 2), copy_close(); /* after 0, 1, 2 */
        if (partial && p.columns_at[at.product] >= 0)
            add_columns(partial + p.columns_at[at.product] + at.at, stage + D * 64, p.k[at.product] - at.at);
        at.at += 64;
        if (at.at >= p.k[at.product]) at.product++, at.at = 0;
        group_wait();
        settle(sum, D / 8);
    }
}

/* All fanned products of the rows. The first stage's copies of this thread are there. */
template <int D, bool SUMS, bool TRANS>
__device__ __forceinline__ void fan_out(const linear_rows &p, groups_shared<D, SUMS> *s, groups_work *b,
                                        const uint32_t (*rows)[4]) {
    uint32_t turns[2] = {0, 0};
    for (int r = 0; r < 2 && p.turned; r++)
        turns[r] = (b->first + (threadIdx.x & 31) / 4 + 8 * r) % p.times * (p.head / 2);
    const half16 *bias = s->fan_bias;
    linear_place at = {0, 0}, done = {-1, 0};
    float y[2][8][4] = {};                                     /* of a stage's tiles */
    for (int i = b->fans;; i++) {                              /* number in the ring */
        int ahead = SUMS && p.slope_w && i == b->fans ? 1 : 2; /* the first was requested alone: places were taken */
        __syncthreads();                                       /* the stage is there, and nobody reads those before */
        uint64_t tile = group_tile(s->ring[i % GROUPS_STAGES]);
        bool biased = p.fan_bias[at.product];
        int step = step_of(p, at.product);
        begin_fan<TRANS>(y[0], biased, bias, step);
        multiply_fan<D, TRANS>(y[0], rows, tile, biased);
        for (; ahead < GROUPS_STAGES; ahead++)
            request_fan<D, TRANS>(p, b, s->ring[(i + ahead) % GROUPS_STAGES]), copy_close();
        if (done.product >= 0) end_fan<TRANS>(p, {done.product, done.at + 64}, y[1], turns, b->first, b->there);
        group_wait();
        settle(y[0], 8);
        begin_fan<TRANS>(y[1], biased, bias + 64, step);
        multiply_fan<D, TRANS>(y[1], rows, further(tile, 64 * D), biased);
        copy_wait<1>(); /* the next stage; before stores, which the fence would wait for */
        group_sees_copies();
        end_fan<TRANS>(p, at, y[0], turns, b->first, b->there);
        group_wait();
        settle(y[1], 8);
        if (biased) bias += GROUPS_FAN;
        done = at;
        at.at += GROUPS_FAN;
        if (at.at >= p.n[at.product]) at.product++, at.at = 0;
        if (at.product == p.fans) break;
    }
    end_fan<TRANS>(p, {done.product, done.at + 64}, y[1], turns, b->first, b->there);
}

template <int D, bool SUMS, bool TRANS>
__global__ void __launch_bounds__(GROUPS_THREADS, 2) linear_groups(const __grid_constant__ linear_rows p) {
    extern __shared__ __align__(1024) half16 linear_memory[];
    groups_shared<D, SUMS> *s = (groups_shared<D, SUMS> *)linear_memory;
    int warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0), group = warp / 4; /* known to be the same for all lanes */
    groups_work b = {};
    b.block = blockIdx.x * GROUPS_ROWS;
    b.first = b.block + 16 * warp;
    b.block_there = (int)min((int64_t)GROUPS_ROWS, p.rows - b.block);
    b.there = min(16, b.block_there - 16 * warp);
    b.chunks = SUMS ? tiles_of(p.k, p.sums) : 0;
    b.fans = b.chunks + (SUMS && p.slope_w ? 2 : 1);
#pragma unroll 1
    for (int i = 0; i < GROUPS_STAGES; i++) {
        request<D, SUMS, TRANS>(p, &b, s->ring[i], i);
        if (i == SUMS) copy_vectors<D, SUMS>(p, s);
        copy_close();
    }

    uint32_t rows[D / 16][4];
    half16 *out = s->ring[(b.fans - 1) % GROUPS_STAGES];
    float *partial = NULL;
    if constexpr (SUMS) {
        float sum[D / 8][4] = {};
        if (p.width && b.block_there > 64 * group) partial = p.partial + ((int64_t)blockIdx.x * 2 + group) * p.width;
        add_products<D, TRANS>(p, s, &b, sum, partial);
        copy_wait<1>();
        __syncthreads(); /* what follows the last chunk is there, and nobody reads that */
        request_fan<D, TRANS>(p, &b, s->ring[(b.chunks + 2) % GROUPS_STAGES]);
        copy_close();
        if (p.slope_w)
            end_slope<D>(p.residual, p.slope_eps, s->slope_w, rows, sum, s->ring[b.chunks % GROUPS_STAGES], out,
                         s->dw[warp]);
        else
            end_sum<D>(p.residual, s->bias, rows, sum, out);
    } else {
        copy_wait<GROUPS_STAGES - 1>();
        __syncthreads();
#pragma unroll
        for (int k = 0; k < D / 16; k++) load_matrices(rows[k], own_at(out, k));
    }
    if (p.norm_w) norm_rows<D>(rows, s->norm_w, p.norm_eps);
    if (SUMS && p.slope_w) /* the first stage of products; before stores, which the fence would wait for */
        copy_wait<0>();
    else
        copy_wait<1>();
    group_sees_copies();
    if constexpr (SUMS) {
        store_own<D>(p.to_r + (int64_t)b.first * D, out, b.there);
        if (p.width) leave_sums<D, SUMS>(p, s, out, partial);
    }
    if (p.to_n) {
#pragma unroll
        for (int k = 0; k < D / 16; k++) store_matrices(own_at(out, k), rows[k]);
        store_own<D>(p.to_n + (int64_t)b.first * D, out, b.there);
    }
    if (p.fans) fan_out<D, SUMS, TRANS>(p, s, &b, rows);
}

#endif
