/* strips_backward.cuh - gradient of causal convolutions with four taps, and of SiLU behind them: two neighbouring
 * channels of a strip of times per thread, the last time first. All that a block's strips read comes to shared memory
 * at once, in copies of 16 bytes. Sums for taps and biases: rows of blocks, which the last of a group's blocks adds. */
#ifndef AIRA_GPU_STRIPS_BACKWARD_CUH
#define AIRA_GPU_STRIPS_BACKWARD_CUH

#include "copy.cuh"
#include "last.cuh"
#include "strips_product.cuh"

/* Two elements as they lie in memory, and opened. */
template <class T> struct packed_pair { typedef float2 type; };
template <> struct packed_pair<__nv_bfloat16> { typedef __nv_bfloat162 type; };
struct pair {
    float v[2];
};
__device__ __forceinline__ pair open2(float2 x) { return {{x.x, x.y}}; }
__device__ __forceinline__ pair open2(__nv_bfloat162 x) {
    uint32_t both = *(uint32_t *)&x;
    return {{__uint_as_float(both << 16), __uint_as_float(both & 0xffff0000u)}};
}
__device__ __forceinline__ void store2(float *to, pair x) { *(float2 *)to = make_float2(x.v[0], x.v[1]); }
__device__ __forceinline__ void store2(__nv_bfloat16 *to, pair x) { *(uint32_t *)to = pack2(x.v[0], x.v[1]); }
__device__ __forceinline__ pair add2(float2 a, float2 b) { return {{a.x + b.x, a.y + b.y}}; }
/* Rounded to bf16, as a gradient in memory would be: half the instructions of opening both. */
__device__ __forceinline__ pair add2(__nv_bfloat162 a, __nv_bfloat162 b) { return open2(__hadd2(a, b)); }

/* g, more: gradients of the results that are added; more: or NULL; product: or nothing, what is added instead. sums:
   [group of pairs][row][PARTS][channel of it], a row per block of the group. */
template <class T> struct backward_side {
    T *dx;
    const T *x, *g, *more;
    float *sums;
    elements dw, db;
    product_side product;
};

/* What a thread has of its strip, walking backward: time t of it lies at t % 4; the strip's end is a multiple of four
   here. k < 4, a time's place in its four, is known when compiling, so that all of it stays in registers. */
struct strip_walk {
    pair x[4], slope[4], w[4], bias, taps[4], dbias;
};

/* What a block's strips of one sequence read, in shared memory: [3 + times + 3][PAIRS] each, row u + 3 is of time u
   from the tile's first on; g's rows are so many pairs apart. Zeros where the sequence has no such time. */
template <class T> struct tile {
    typedef typename packed_pair<T>::type two;
    two *x, *g, *more;
};
__host__ __device__ constexpr int apart_of(int opened) { return opened == 3 ? PAIRS + APART : PAIRS; }
__host__ __device__ constexpr int tile_pairs(int times, int opened) {
    return (times + 6) * (PAIRS + apart_of(opened) + (opened == 2 ? PAIRS : 0));
}

/* Begins the copies of a tile's first rows, of which the first is of time t; i: of `threads` that share them. from: the
   sequence at the block's first channel; left: channels from there on. QUADS: all lie on 16 bytes; otherwise half of
   them may belong to the next row. */
template <class T, int OPENED, bool QUADS>
__device__ __forceinline__ void copy_tile(const tile<T> &to, const backward_side<T> &from, int64_t at, int t, int rows,
                                          const strips &s, int left, int i, int threads) {
    const int width = 16 / sizeof(T), pieces = PAIRS * 2 / width, arrays = OPENED == 2 ? 3 : 2;
    int row = i / pieces, channel = i % pieces * width, step = s.groups * 2, more = threads / pieces;
    int first = max(-t, 0), n = channel < left ? max(min(rows, s.t_n - t) - first, 0) : 0; /* rows that are there */
    bool half = QUADS || channel + width / 2 < left;
    const T *source[3] = {from.x, from.g, from.more};
    typename tile<T>::two *goal[3] = {to.x, to.g, to.more};
#pragma unroll
    for (int k = 0; k < arrays; k++) {
        source[k] += at + (int64_t)(t + row) * step + channel;
        goal[k] += row * (k == 1 ? apart_of(OPENED) : PAIRS) + channel / 2;
    }
#pragma unroll 1
    for (; row < rows; row += more) {
        bool there = (uint32_t)(row - first) < (uint32_t)n;
#pragma unroll
        for (int k = 0; k < arrays; k++) {
            if (QUADS) {
                copy_16(goal[k], source[k], there);
            } else {
                copy_8(goal[k], source[k], there);
                copy_8(goal[k] + width / 4, source[k] + width / 2, there && half);
            }
            source[k] += more * step;
            goal[k] += more * (k == 1 ? apart_of(OPENED) : PAIRS);
        }
    }
}

/* The gradient of the convolution's result at a time, given that of what became of it; OPENED: twice that. With h half
   the result c and t = tanh(h), SiLU's slope sigmoid(c) (1 + c (1 - sigmoid(c))) is (1 + t) (1 + h (1 - t)) / 2; taps
   and bias are halved for h. */
template <int OPENED> __device__ __forceinline__ pair slope_of(const strip_walk &v, pair g, int k) {
    pair h = v.bias;
#pragma unroll
    for (int j = 0; j < 2 && OPENED; j++) {
#pragma unroll
        for (int tap = 0; tap < 4; tap++) h.v[j] += v.w[tap].v[j] * v.x[(k + 1 + tap) & 3].v[j];
        float t = tanh_near(h.v[j]), open = 1.0f + t;
        g.v[j] *= open + open * (h.v[j] - h.v[j] * t);
    }
    return g;
}

/* The slope at time u, which is k in its four, with x of three times before it now at hand. from: at time 0. */
template <class T, int OPENED>
__device__ __forceinline__ pair next_slope(strip_walk &v, const tile<T> &from, int u, int k) {
    v.x[(k + 1) & 3] = open2(from.x[(u - 3) * PAIRS]);
    typename tile<T>::two slope = from.g[u * apart_of(OPENED)];
    pair g = OPENED == 2 ? add2(slope, from.more[u * PAIRS]) : open2(slope);
    return v.slope[k] = slope_of<OPENED>(v, g, k);
}

/* Gradients at time u, given the slopes of the three after it. */
template <class T, int OPENED> __device__ __forceinline__ pair walk(strip_walk &v, const tile<T> &from, int u, int k) {
    pair slope = next_slope<T, OPENED>(v, from, u, k), sum;
#pragma unroll
    for (int j = 0; j < 2; j++) {
        v.dbias.v[j] += slope.v[j];
        sum.v[j] = v.w[3].v[j] * slope.v[j];
#pragma unroll
        for (int tap = 0; tap < 4; tap++) {
            v.taps[tap].v[j] += slope.v[j] * v.x[(k + 1 + tap) & 3].v[j];
            if (tap > 0) sum.v[j] += v.w[3 - tap].v[j] * v.slope[(k + tap) & 3].v[j];
        }
    }
    return sum;
}

/* The strip's times, the last first; its end is time 0 of `from`. dx: of the last time; left: times of which dx is
   written. */
template <class T, int OPENED>
__device__ __forceinline__ void walk_strip(strip_walk &v, tile<T> from, T *dx, int step, int length, int left) {
#pragma unroll
    for (int k = 0; k < 3; k++) v.x[k] = open2(from.x[k * PAIRS]);
#pragma unroll
    for (int k = 2; k >= 0; k--) next_slope<T, OPENED>(v, from, k, k);
#pragma unroll 1
    for (int n = 0; n < length; n += 4, left -= 4) {
        from.x -= 4 * PAIRS;
        from.g -= 4 * apart_of(OPENED);
        if (OPENED == 2) from.more -= 4 * PAIRS;
#pragma unroll
        for (int k = 3; k >= 0; k--, dx -= step) {
            pair sum = walk<T, OPENED>(v, from, k, k);
            if (3 - k < left) store2(dx, sum);
        }
    }
}

/* Taps and bias of two channels; those of OPENED halved. */
template <int OPENED> __device__ __forceinline__ void load_filter(strip_walk &v, const strips &s, int channel) {
    const float scale = OPENED ? 0.5f : 1.0f;
#pragma unroll
    for (int j = 0; j < 2; j++) {
        float4_of taps = load_any(s.w, (int64_t)(channel + j) * 4);
#pragma unroll
        for (int k = 0; k < 4; k++) v.w[k].v[j] = taps.v[k] * scale;
    }
    if (!OPENED) return;
    v.bias = s.bias.dtype == AIRA_BF16 ? open2(((const __nv_bfloat162 *)s.bias.data)[channel / 2])
                                       : open2(((const float2 *)s.bias.data)[channel / 2]);
    v.bias = {{v.bias.v[0] * scale, v.bias.v[1] * scale}};
}

/* What threads add to a block's sums of a channel pair: [PARTS][thread]. */
__device__ __forceinline__ void put_parts(float2 *part, const strip_walk &v, int i, int threads) {
#pragma unroll
    for (int k = 0; k < 4; k++) part[k * threads + i] = make_float2(v.taps[k].v[0], v.taps[k].v[1]);
    part[4 * threads + i] = make_float2(v.dbias.v[0], v.dbias.v[1]);
}

/* Adds the rows of a group's sums, in the last block of it: a thread four columns of every SLICES-th row, sixteen of
   them on their way at a time, then the slices. i: of `threads`. */
__device__ __forceinline__ void end_sums(float (*part)[4], const float *sums, int rows, const strips &s, int i,
                                         int threads, int channel, float scale, elements dw, elements db) {
    const int wide = PAIRS * 2, columns = wide * PARTS / 4, ahead = 16;
    int slices = threads / columns, slice = i / columns;
    float4_of sum = {};
    if (slice < slices) {
        const float *from = sums + i % columns * 4;
#pragma unroll 1
        for (int r = slice; r < rows; r += ahead * slices) {
            float4 v[ahead];
#pragma unroll
            for (int k = 0; k < ahead; k++) {
                int row = r + k * slices;
                v[k] = row < rows ? __ldcg((const float4 *)(from + (int64_t)row * columns * 4)) : float4{};
            }
#pragma unroll
            for (int k = 0; k < ahead; k++)
                sum.v[0] += v[k].x, sum.v[1] += v[k].y, sum.v[2] += v[k].z, sum.v[3] += v[k].w;
        }
    }
#pragma unroll
    for (int k = 0; k < 4; k++) part[i][k] = sum.v[k];
    __syncthreads();
    for (; i < columns * 4; i += threads) {
        float all = 0;
        for (int n = 0; n < slices; n++) all += part[n * columns + i / 4][i % 4];
        int k = i / wide, c = channel + i % wide;
        if (c >= s.groups * 2) continue;
        if (k < 4)
            store<float>(dw, (int64_t)c * 4 + k, all * scale);
        else
            store<float>(db, c, all * scale);
    }
}

/* p of a sequence, if there is such a one, and Wx from the block's first channel on. */
__device__ __forceinline__ product_side sequence_of(const product_side &all, int b, int first, const strips &s) {
    return {all.p + (int64_t)(b < s.batch ? b : 0) * s.t_n * all.columns, all.Wx + first, all.columns};
}

/* Walks the strips of a block's tiles: sequences in turns, of each `span` tiles from the last time to the first. What
   follows a tile in time is kept when it was walked just before: dx may lie on it. */
template <class T, int OPENED>
__device__ __forceinline__ void walk_tiles(strip_walk &v, const strips &s, const backward_side<T> &to, tile<T> own,
                                           int group) {
    int times = s.tall * s.length, y = (int)threadIdx.y, j = y * PAIRS + (int)threadIdx.x, step = s.groups * 2;
    int first = group * PAIRS * 2, channel = first + (int)threadIdx.x * 2, end = times - y * s.length;
    int head = (int)blockIdx.y * s.span, tail = min(head + s.span, s.tiles_n);
    int place = (end + 3) * PAIRS + (int)threadIdx.x;
    tile<T> mine = {own.x + place, own.g + (end + 3) * apart_of(OPENED) + threadIdx.x,
                    OPENED == 2 ? own.more + place : NULL};
    for (int turn = 0; turn < s.turns; turn++) {
        int b = (int)((blockIdx.z * s.turns + turn) * s.deep + threadIdx.z);
        int left = b < s.batch ? step - first : 0;
        int64_t base = (int64_t)(b < s.batch ? b : 0) * s.t_n * step + first;
        for (int n = head; n < tail; n++) {
            int t = s.t_n - (n + 1) * times, more = n > head ? 0 : 3; /* t: of the tile's first time */
            if (n > head) {
                for (int r = y; r < 3; r += s.tall) {
                    int at = (r + 3) * PAIRS + (int)threadIdx.x, behind = at + times * PAIRS;
                    int at_g = (r + 3) * apart_of(OPENED) + (int)threadIdx.x;
                    own.x[behind] = own.x[at];
                    own.g[at_g + times * apart_of(OPENED)] = own.g[at_g];
                    if (OPENED == 2) own.more[behind] = own.more[at];
                }
                __syncthreads();
            }
            product_pieces pieces;
            if constexpr (OPENED == 3)
                fetch_pieces(pieces, sequence_of(to.product, b, first, s), t - 3, times + 3 + more, s.t_n, step, left,
                             y, s.tall);
            if (s.quads)
                copy_tile<T, OPENED, true>(own, to, base, t - 3, times + 3 + more, s, left, j, s.tall * PAIRS);
            else
                copy_tile<T, OPENED, false>(own, to, base, t - 3, times + 3 + more, s, left, j, s.tall * PAIRS);
            if (turn == 0 && n == head && channel < step) load_filter<OPENED>(v, s, channel);
            copy_wait_all();
            __syncthreads();
            if constexpr (OPENED == 3) {
                add_product(own.g, pieces, times + 3 + more, y, s.tall);
                __syncthreads();
            }
            int last = t + end - 1;
            walk_strip<T, OPENED>(v, mine, to.dx + (base + (int64_t)last * step + threadIdx.x * 2), step, s.length,
                                  threadIdx.x * 2 < left ? last + 1 : 0);
            __syncthreads();
        }
    }
}

/* OPENED: 0: g is the gradient of the convolution's results; 1, 2: of SiLU of them, and so many are added; 3: of SiLU
   of them, and the product is added. blockIdx: group of PAIRS pairs, `span` tiles of `tall` strips, `deep` sequences
   `turns` times; threadIdx: pair, strip, sequence. Tiles end where the sequence does, so that the first may begin
   before it. Since a block reads a tile, and what lies around it, before it writes dx there, dx may lie on gradients
   where a block holds the sequence.
 */
template <class T, int OPENED>
__global__ void __launch_bounds__(TALL * 32, sizeof(T) == 2 ? 6 : 3)
    strip_backward_kernel(const __grid_constant__ side_list<backward_side<T>> list, uint32_t *counters) {
    extern __shared__ __align__(16) unsigned char memory[];
    __shared__ bool last;
    typedef typename packed_pair<T>::type two;
    int side = side_of(list), group = (int)(blockIdx.x - list.first[side]);
    const strips &s = list.s[side];
    const backward_side<T> &to = list.member[side];
    const int wide = PAIRS;
    int places = s.tall * s.deep, place = (int)(threadIdx.z * s.tall + threadIdx.y);
    int threads = places * wide, i = place * wide + (int)threadIdx.x, times = s.tall * s.length;
    two *room = (two *)memory + (int)threadIdx.z * tile_pairs(times, OPENED);
    tile<T> own = {room, room + (times + 6) * PAIRS, room + 2 * (times + 6) * PAIRS};
    float2 *part = (float2 *)memory; /* [PARTS][threads], once all is walked */
    strip_walk v = {};
    walk_tiles<T, OPENED>(v, s, to, own, group);
    put_parts(part, v, i, threads);
    __syncthreads();
    int rows = (int)(gridDim.y * gridDim.z), row = (int)(blockIdx.z * gridDim.y + blockIdx.y);
    float *sums = to.sums + (int64_t)group * rows * wide * 2 * PARTS;
    for (int k = place; k < PARTS; k += places) {
        float2 sum = {0, 0};
#pragma unroll 4
        for (int n = 0; n < places; n++) {
            float2 more = part[k * threads + n * wide + threadIdx.x];
            sum.x += more.x, sum.y += more.y;
        }
        ((float2 *)sums)[((int64_t)row * PARTS + k) * wide + threadIdx.x] = sum;
    }
    __syncthreads();
    if (i == 0) last = is_last(counters + blockIdx.x, (uint32_t)rows);
    __syncthreads();
    if (!last) return;
    end_sums((float(*)[4])part, sums, rows, s, i, threads, group * wide * 2, OPENED ? 0.5f : 1.0f, to.dw, to.db);
    if (i == 0) counters[blockIdx.x] = 0;
}

#endif
