/* convolution.cu - causal convolution of every channel with a few taps, forward and backward.
 *
 * Two texts. `strip`: four taps, neighbouring channels of a strip of times per thread (forward four, bound by bytes;
 * backward two, bound by instructions, for which four blocks must fit on a multiprocessor), bf16 or fp32; with GPU_SILU
 * it applies SiLU, and backward its slope, for which the convolution is computed again: x is read anyway. What is on
 * its way is kept as it lies in memory; backward a block has all that its strips read brought to shared memory at
 * once, so that walking waits for nothing. The other: any number of taps and any types, one element per thread.
 * Gradients of taps and biases are sums over times and sequences: partial sums of blocks, which the last of them adds
 * (strip), or a second kernel.
 */
#include "approx.cuh"
#include "copy.cuh"
#include "fast.h"
#include "join.cuh"
#include "shared.cuh"
#include "tables.h"
#include "vector.cuh"

/* --- four taps ------------------------------------------------------------------------------------------------------
 */

#define SHORT 8 /* times of a thread */
#define SIDES 4 /* most convolutions of a launch */
#define THREADS 256
#define PARTS 5    /* sums per channel: of four taps and the bias */
#define STRIP 32   /* backward: most times of a thread */
#define TALL 4     /* most strips of a block */
#define PAIRS 32   /* channel pairs of a block: a warp's */
#define TURNS 2    /* most sequences of a thread, if there are still this many blocks: */
#define BLOCKS 256 /* about two for every multiprocessor, and the rest for others */

struct strips {
    int batch, t_n, groups, n;                    /* groups: of the channels of a thread; n: strips of a sequence */
    int length, tall, deep, turns, tiles_n, span; /* backward, see strip_backward_kernel */
    bool quads;                                   /* backward: 16 bytes lie on multiples of 16 */
    elements w, bias;
};

/* Convolutions side by side: blockIdx.x from first[k] on is member k's. All but groups, w and bias of their strips
   agree. */
template <class MEMBER> struct side_list {
    MEMBER member[SIDES];
    strips s[SIDES];
    uint32_t first[SIDES + 1];
    int n;
};

template <class MEMBER> __device__ __forceinline__ int side_of(const side_list<MEMBER> &list) {
    int k = 0;
    while (k + 1 < list.n && blockIdx.x >= list.first[k + 1]) k++;
    return k;
}

/* Four elements as they lie in memory. */
template <class T> struct packed { typedef float4 type; };
template <> struct packed<__nv_bfloat16> { typedef uint2 type; };

/* Four elements, zeros where they are not `there`. */
template <class T> __device__ __forceinline__ typename packed<T>::type fetch_if(const T *from, bool there) {
    return there ? fetch4(from) : typename packed<T>::type{};
}

/* Four neighbours, fp32 or bf16. */
__device__ __forceinline__ float4_of load_any(elements e, int64_t at) {
    return e.dtype == AIRA_BF16 ? load4((const __nv_bfloat16 *)e.data + at) : load4((const float *)e.data + at);
}

/* w[k].v[j]: tap k of channel j, times scale. */
__device__ __forceinline__ void load_taps(float4_of *w, const strips &s, int channel, float scale) {
#pragma unroll
    for (int j = 0; j < 4; j++) {
        float4_of taps = load_any(s.w, (int64_t)(channel + j) * 4);
#pragma unroll
        for (int k = 0; k < 4; k++) w[k].v[j] = taps.v[k] * scale;
    }
}

/* What a strip's results become: themselves, SiLU of them, or SiLU of them and themselves. */
enum after { AS_IT_IS, SILU, SILU_KEPT };

/* c: what SiLU is applied to, with SILU_KEPT. */
template <class T> struct forward_side {
    T *y, *c;
    const T *x;
};

/* The strip's results at times 0 .. left - 1; FULL: at all of them. SiLU of c is h (1 + tanh(h)) with h = c / 2, which
   halved taps and bias give. */
template <class T, after AFTER, bool FULL>
__device__ __forceinline__ void put_strip(T *y, T *c, const typename packed<T>::type *window, const float4_of *w,
                                          const float4_of &bias, int64_t step, int left) {
#pragma unroll
    for (int t = 0; t < SHORT; t++) {
        float4_of sum = bias, open;
#pragma unroll
        for (int k = 0; k < 4; k++) {
            float4_of x = open4(window[t + k]);
#pragma unroll
            for (int j = 0; j < 4; j++) sum.v[j] += w[k].v[j] * x.v[j];
        }
#pragma unroll
        for (int j = 0; j < 4; j++) {
            float h = sum.v[j];
            open.v[j] = AFTER == AS_IT_IS ? h : h + h * tanh_near(h);
            if (AFTER == SILU_KEPT) sum.v[j] = 2 * h;
        }
        if (FULL || t < left) store4(y, open);
        if (AFTER == SILU_KEPT && (FULL || t < left)) store4(c, sum);
        y += step;
        if (AFTER == SILU_KEPT) c += step;
    }
}

template <class T, after AFTER>
__global__ void __launch_bounds__(THREADS, sizeof(T) == 2 ? 4 : 2)
    strip_kernel(const __grid_constant__ side_list<forward_side<T>> list) {
    int side = side_of(list);
    const strips &s = list.s[side];
    uint32_t i = (blockIdx.x - list.first[side]) * THREADS + threadIdx.x, row = i / (uint32_t)s.groups;
    uint32_t b = row / (uint32_t)s.n;
    if (b >= (uint32_t)s.batch) return;
    int channel = (int)(i - row * s.groups) * 4, t0 = (int)(row - b * s.n) * SHORT, left = s.t_n - t0;
    int64_t step = s.groups * 4, at = ((int64_t)b * s.t_n + t0) * step + channel;
    const T *__restrict__ from = list.member[side].x + at;
    typename packed<T>::type window[SHORT + 3];
#pragma unroll
    for (int t = 0; t < 3; t++) window[t] = fetch_if(from + (t - 3) * step, t0 > 0);
#pragma unroll
    for (int t = 3; t < SHORT + 3; t++) window[t] = fetch_if(from + (t - 3) * step, t - 3 < left);
    const float scale = AFTER == AS_IT_IS ? 1.0f : 0.5f;
    float4_of w[4], bias = load_any(s.bias, channel);
    load_taps(w, s, channel, scale);
#pragma unroll
    for (int j = 0; j < 4; j++) bias.v[j] *= scale;
    T *y = list.member[side].y + at, *c = AFTER == SILU_KEPT ? list.member[side].c + at : NULL;
    if (left >= SHORT)
        put_strip<T, AFTER, true>(y, c, window, w, bias, step, left);
    else
        put_strip<T, AFTER, false>(y, c, window, w, bias, step, left);
}

/* Backward: two neighbouring channels of a strip. */

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

/* g, more: gradients of the results that are added; more: or NULL. sums: [group of pairs][row][PARTS][channel of it], a
   row per block of the group. */
template <class T> struct backward_side {
    T *dx;
    const T *x, *g, *more;
    float *sums;
    elements dw, db;
};

/* What a thread has of its strip, walking backward: time t of it lies at t % 4; the strip's end is a multiple of four
   here. k < 4, a time's place in its four, is known when compiling, so that all of it stays in registers. */
struct strip_walk {
    pair x[4], slope[4], w[4], bias, taps[4], dbias;
};

/* What a block's strips of one sequence read, in shared memory: [3 + times + 3][PAIRS] each, row u + 3 is of time u
   from the tile's first on. Zeros where the sequence has no such time. */
template <class T> struct tile {
    typedef typename packed_pair<T>::type two;
    two *x, *g, *more;
};
__host__ __device__ constexpr int tile_rows(int times, int opened) { return (times + 6) * (opened == 2 ? 3 : 2); }

__device__ __forceinline__ void copy_8(void *to, const void *from, bool there) {
    uint32_t at = (uint32_t)__cvta_generic_to_shared(to);
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(at), "l"(from), "r"(there ? 8 : 0) : "memory");
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
        goal[k] += row * PAIRS + channel / 2;
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
            goal[k] += more * PAIRS;
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
    pair g = OPENED == 2 ? add2(from.g[u * PAIRS], from.more[u * PAIRS]) : open2(from.g[u * PAIRS]);
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
        from.g -= 4 * PAIRS;
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

/* Whether all other of n blocks have come here; one thread of each asks after a barrier. What the blocks wrote before,
   the last one's threads may read with __ldcg after another barrier. The order that __threadfence demands costs more.
 */
__device__ __forceinline__ bool is_last(uint32_t *counter, uint32_t n) {
    uint32_t before;
    asm volatile("atom.add.release.gpu.global.u32 %0, [%1], 1;" : "=r"(before) : "l"(counter) : "memory");
    if (before == n - 1) asm volatile("fence.acq_rel.gpu;" ::: "memory");
    return before == n - 1;
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

/* Walks the strips of a block's tiles: sequences in turns, of each `span` tiles from the last time to the first. What
   follows a tile in time is kept when it was walked just before: dx may lie on it. */
template <class T, int OPENED>
__device__ __forceinline__ void walk_tiles(strip_walk &v, const strips &s, const backward_side<T> &to, tile<T> own,
                                           int group) {
    int times = s.tall * s.length, y = (int)threadIdx.y, j = y * PAIRS + (int)threadIdx.x, step = s.groups * 2;
    int first = group * PAIRS * 2, channel = first + (int)threadIdx.x * 2, end = times - y * s.length;
    int head = (int)blockIdx.y * s.span, tail = min(head + s.span, s.tiles_n);
    int place = (end + 3) * PAIRS + (int)threadIdx.x;
    tile<T> mine = {own.x + place, own.g + place, OPENED == 2 ? own.more + place : NULL};
    for (int turn = 0; turn < s.turns; turn++) {
        int b = (int)((blockIdx.z * s.turns + turn) * s.deep + threadIdx.z);
        int left = b < s.batch ? step - first : 0;
        int64_t base = (int64_t)(b < s.batch ? b : 0) * s.t_n * step + first;
        for (int n = head; n < tail; n++) {
            int t = s.t_n - (n + 1) * times, more = n > head ? 0 : 3; /* t: of the tile's first time */
            if (n > head) {
                for (int r = y; r < 3; r += s.tall) {
                    int at = (r + 3) * PAIRS + (int)threadIdx.x, behind = at + times * PAIRS;
                    own.x[behind] = own.x[at];
                    own.g[behind] = own.g[at];
                    if (OPENED == 2) own.more[behind] = own.more[at];
                }
                __syncthreads();
            }
            if (s.quads)
                copy_tile<T, OPENED, true>(own, to, base, t - 3, times + 3 + more, s, left, j, s.tall * PAIRS);
            else
                copy_tile<T, OPENED, false>(own, to, base, t - 3, times + 3 + more, s, left, j, s.tall * PAIRS);
            if (turn == 0 && n == head && channel < step) load_filter<OPENED>(v, s, channel);
            copy_wait_all();
            __syncthreads();
            int last = t + end - 1;
            walk_strip<T, OPENED>(v, mine, to.dx + (base + (int64_t)last * step + threadIdx.x * 2), step, s.length,
                                  threadIdx.x * 2 < left ? last + 1 : 0);
            __syncthreads();
        }
    }
}

/* OPENED: 0: g is the gradient of the convolution's results; 1, 2: of SiLU of them, and so many are added.
   blockIdx: group of PAIRS pairs, `span` tiles of `tall` strips, `deep` sequences `turns` times; threadIdx: pair,
   strip, sequence. Tiles end where the sequence does, so that the first may begin before it. Since a block reads a
   tile, and what lies around it, before it writes dx there, dx may lie on gradients where a block holds the sequence.
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
    two *room = (two *)memory + (int)threadIdx.z * tile_rows(times, OPENED) * PAIRS;
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
#pragma unroll 8
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

/* How many convolutions the call is, and call number k of them. */
static uint32_t sides_of(const gpu_call *call) {
    if (!(call->merged & GPU_SIDES)) return 1;
    return call->step->op == AIRA_OP_CONV1D_CAUSAL ? call->n_in / 3 : call->n_out / 3;
}
static gpu_call side_call(const gpu_call *call, uint32_t k) {
    gpu_call one = *call;
    one.n_in /= sides_of(call);
    one.n_out /= sides_of(call);
    one.in += k * one.n_in;
    one.out += k * one.n_out;
    one.merged &= ~GPU_SIDES;
    return one;
}

/* Whether some dx lies on an operand. */
static bool replaces(const gpu_call *call) {
    for (uint32_t j = 0; j < sides_of(call); j++) {
        gpu_call one = side_call(call, j);
        for (uint32_t k = 0; k < one.n_in; k++)
            if (one.in[k].data == one.out[0].data) return true;
    }
    return false;
}

/* Lays out the blocks of a gradient; `whole`: each has all of its sequences' times. */
static void plan_blocks(strips *s, const gpu_call *call, bool whole) {
    int64_t groups = 0, blocks;
    for (uint32_t j = 0; j < sides_of(call); j++)
        groups += (side_call(call, j).in[0].shape.dims[2] + PAIRS * 2 - 1) / (PAIRS * 2);
    s->n = (s->t_n + STRIP - 1) / STRIP;
    s->tiles_n = (s->n + TALL - 1) / TALL;
    s->tall = (s->n + s->tiles_n - 1) / s->tiles_n;
    s->n = s->tall * s->tiles_n;
    s->length = (s->t_n + s->n - 1) / s->n;
    s->length += -s->length & 3;
    s->deep = TALL / s->tall;
    blocks = groups * ((s->batch + s->deep - 1) / s->deep);
    for (s->turns = 1; s->turns < TURNS && blocks >= 2 * BLOCKS; blocks /= 2) s->turns *= 2;
    int64_t parts = whole || blocks >= BLOCKS ? 1 : BLOCKS / blocks;
    s->span = (int)((s->tiles_n + parts - 1) / parts);
}

/* Convolution k of the call. Backward: `whole`: a block has all of its sequences' times. */
static strips strips_of(const gpu_call *call, uint32_t k, bool whole) {
    gpu_call one = side_call(call, k);
    const int64_t *x = one.in[0].shape.dims;
    bool back = call->step->op == AIRA_OP_CONV1D_CAUSAL_BACKWARD;
    strips s = {};
    s.batch = (int)x[0];
    s.t_n = (int)x[1];
    s.groups = (int)(x[2] / (back ? 2 : 4));
    s.n = (s.t_n + SHORT - 1) / SHORT;
    if (back) plan_blocks(&s, call, whole);
    s.w = of(one.in[1]);
    if (!back || call->merged & GPU_SILU) s.bias = of(one.in[2]);
    return s;
}

static bool aligned_to_quads(const gpu_view *view) {
    bool real = view->dtype == AIRA_F32 || view->dtype == AIRA_BF16;
    return real && aligned4(view->data, (uint32_t)gpu_bytes_of(view->dtype));
}

/* big: operands and results of x's shape, which must be of one type and lie on whole quads, as taps and biases do. */
static bool strips_take(const gpu_call *call, const gpu_view *const *big, int n) {
    const aira_shape *x = &call->in[0].shape;
    bool takes = x->dims[2] % 4 == 0 && call->in[1].shape.dims[1] == 4 && call->in[0].n > 0 && !gpu_is_wide(call);
    for (int k = 0; k < n; k++) takes = takes && big[k]->dtype == big[0]->dtype && aligned_to_quads(big[k]);
    return takes && aligned_to_quads(&call->in[1]);
}

static bool forward_strips(const gpu_call *call) {
    const gpu_view *big[3] = {&call->in[0], &call->out[0], &call->out[call->n_out - 1]};
    return aligned_to_quads(&call->in[2]) && strips_take(call, big, 3);
}

static dim3 backward_grid(const strips &s) {
    int side_by_side = s.deep * s.turns;
    return dim3((unsigned)((s.groups + PAIRS - 1) / PAIRS), (unsigned)((s.tiles_n + s.span - 1) / s.span),
                (unsigned)((s.batch + side_by_side - 1) / side_by_side));
}

static bool backward_strips(const gpu_call *call) {
    bool silu = call->merged & GPU_SILU;
    const gpu_view *big[4] = {&call->in[0], &call->in[silu ? 3 : 2], &call->out[0], &call->in[call->n_in - 1]};
    if (!strips_take(call, big, 4) || (silu && !aligned_to_quads(&call->in[2]))) return false;
    const int64_t *x = call->in[0].shape.dims;
    dim3 grid = backward_grid(strips_of(call, 0, false));
    return x[1] < INT32_MAX / 2 && grid.x <= GPU_COUNTERS / SIDES && grid.y <= 65535 && grid.z <= 65535;
}

static bool takes_side(const gpu_call *call) {
    bool half = call->in[0].dtype == AIRA_BF16;
    return half && (call->step->op == AIRA_OP_CONV1D_CAUSAL ? forward_strips(call) : backward_strips(call));
}

bool gpu_conv_takes(const gpu_call *call) {
    uint32_t n = sides_of(call);
    const int64_t *x = call->in[0].shape.dims;
    bool takes = n <= SIDES;
    for (uint32_t k = 0; k < n && takes; k++) {
        gpu_call one = side_call(call, k);
        takes = takes_side(&one) && one.in[0].shape.dims[0] == x[0] && one.in[0].shape.dims[1] == x[1];
    }
    return takes;
}

static unsigned strip_blocks(const strips &s) {
    return (unsigned)(((int64_t)s.batch * s.n * s.groups + THREADS - 1) / THREADS);
}

template <class T, after AFTER> static const char *strip_conv(const gpu_call *call) {
    side_list<forward_side<T>> list = {};
    list.n = (int)sides_of(call);
    for (int k = 0; k < list.n; k++) {
        gpu_call one = side_call(call, (uint32_t)k);
        list.s[k] = strips_of(call, (uint32_t)k, false);
        list.member[k] = {(T *)one.out[0].data, (T *)one.out[one.n_out - 1].data, (const T *)one.in[0].data};
        list.first[k + 1] = list.first[k] + strip_blocks(list.s[k]);
    }
    strip_kernel<T, AFTER><<<list.first[list.n], THREADS, 0, call->stream>>>(list);
    return gpu_launched();
}

/* Whether all that is copied lies on 16 bytes. */
template <class T> static bool on_quads(const strips &s, const backward_side<T> &to, bool two) {
    uintptr_t all = (uintptr_t)to.x | (uintptr_t)to.g | (two ? (uintptr_t)to.more : 0);
    return (all | s.groups * 2 * sizeof(T)) % 16 == 0;
}

/* Partial sums of a convolution's blocks. */
static size_t sums_of(dim3 grid) { return (size_t)grid.x * grid.y * grid.z * PAIRS * 2 * PARTS; }

template <class T, int OPENED> static const char *strip_conv_backward(const gpu_call *call) {
    side_list<backward_side<T>> list = {};
    uint32_t *counters = (uint32_t *)gpu_tables_counter(call->tables, 0);
    float *sums = (float *)call->workspace;
    bool whole = replaces(call);
    dim3 grid;
    if (!counters) return "no memory for counters";
    if (allow_shared(strip_backward_kernel<T, OPENED>) != cudaSuccess) return "no shared memory for the convolution";
    list.n = (int)sides_of(call);
    for (int k = 0; k < list.n; k++) {
        gpu_call one = side_call(call, (uint32_t)k);
        backward_side<T> &to = list.member[k];
        to.dx = (T *)one.out[0].data;
        to.x = (const T *)one.in[0].data;
        to.g = (const T *)one.in[OPENED ? 3 : 2].data;
        to.more = OPENED == 2 ? (const T *)one.in[4].data : NULL;
        to.sums = sums;
        to.dw = of(one.out[1]);
        to.db = of(one.out[2]);
        list.s[k] = strips_of(call, (uint32_t)k, whole);
        list.s[k].quads = on_quads<T>(list.s[k], to, OPENED == 2);
        grid = backward_grid(list.s[k]);
        list.first[k + 1] = list.first[k] + grid.x;
        sums += sums_of(grid);
    }
    const strips &s = list.s[0];
    dim3 block(PAIRS, (unsigned)s.tall, (unsigned)s.deep);
    size_t shared = (size_t)tile_rows(s.tall * s.length, OPENED) * s.deep * PAIRS * 2 * sizeof(T);
    grid.x = list.first[list.n];
    strip_backward_kernel<T, OPENED><<<grid, block, shared, call->stream>>>(list, counters);
    return gpu_launched();
}

/* --- any number of taps ---------------------------------------------------------------------------------------------
 */

template <class R>
__global__ void conv_kernel(elements y, elements x, elements w, elements bias, int64_t n, int t_n, int c_n, int taps) {
    EACH(i, n) {
        int c = (int)(i % c_n), t = (int)(i / c_n % t_n);
        R sum = load<R>(bias, c);
        for (int k = 0; k < taps; k++) {
            int back = taps - 1 - k;
            if (t >= back) sum += load<R>(w, (int64_t)c * taps + k) * load<R>(x, i - (int64_t)back * c_n);
        }
        store<R>(y, i, sum);
    }
}

static const char *conv(const gpu_call *call) {
    const aira_shape *x = &call->in[0].shape;
    int64_t n = call->in[0].n;
    int t_n = (int)x->dims[1], c_n = (int)x->dims[2], taps = (int)call->in[1].shape.dims[1];
    unsigned blocks = blocks_for(n, 256);
    if (n == 0) return NULL;
    if (call->merged & GPU_SILU)
        return call->n_out > sides_of(call) ? strip_conv<__nv_bfloat16, SILU_KEPT>(call)
                                            : strip_conv<__nv_bfloat16, SILU>(call);
    if (forward_strips(call))
        return call->in[0].dtype == AIRA_F32 ? strip_conv<float, AS_IT_IS>(call)
                                             : strip_conv<__nv_bfloat16, AS_IT_IS>(call);
    if (gpu_is_wide(call))
        conv_kernel<double><<<blocks, 256, 0, call->stream>>>(of(call->out[0]), of(call->in[0]), of(call->in[1]),
                                                              of(call->in[2]), n, t_n, c_n, taps);
    else
        conv_kernel<float><<<blocks, 256, 0, call->stream>>>(of(call->out[0]), of(call->in[0]), of(call->in[1]),
                                                             of(call->in[2]), n, t_n, c_n, taps);
    return gpu_launched();
}

template <class R>
__global__ void conv_dx_kernel(elements dx, elements w, elements g, int64_t n, int t_n, int c_n, int taps) {
    EACH(i, n) {
        int c = (int)(i % c_n), t = (int)(i / c_n % t_n);
        R sum = 0;
        for (int k = 0; k < taps; k++) {
            int ahead = taps - 1 - k;
            if (t + ahead < t_n) sum += load<R>(w, (int64_t)c * taps + k) * load<R>(g, i + (int64_t)ahead * c_n);
        }
        store<R>(dx, i, sum);
    }
}

/* partial[b][taps + 1][c]: sums over the times of one sequence; row `taps` is the bias */
template <class R> __global__ void conv_dw_kernel(R *partial, elements x, elements g, int t_n, int c_n, int taps) {
    int c = blockIdx.x * blockDim.x + threadIdx.x, b = blockIdx.y, k = blockIdx.z;
    int64_t base = (int64_t)b * t_n * c_n + c;
    if (c >= c_n) return;
    R sum = 0;
    int back = taps - 1 - k;
    for (int t = k == taps ? 0 : back; t < t_n; t++) {
        R slope = load<R>(g, base + (int64_t)t * c_n);
        sum += k == taps ? slope : slope * load<R>(x, base + (int64_t)(t - back) * c_n);
    }
    partial[((int64_t)b * (taps + 1) + k) * c_n + c] = sum;
}

template <class R>
__global__ void conv_join_kernel(elements dw, elements db, const R *partial, int batch, int c_n, int taps) {
    EACH(i, (int64_t)(taps + 1) * c_n) {
        R sum = 0;
        for (int64_t b = 0; b < batch; b++) sum += partial[b * (taps + 1) * c_n + i];
        int64_t k = i / c_n, c = i % c_n;
        if (k == taps)
            store<R>(db, c, sum);
        else
            store<R>(dw, c * taps + k, sum);
    }
}

static size_t conv_backward_workspace(const gpu_call *call) {
    const aira_shape *x = &call->in[0].shape;
    if (call->merged & GPU_SILU || backward_strips(call)) {
        size_t bytes = 0;
        (void)gpu_tables_counter(call->tables, 1); /* where there are none, running says so */
        for (uint32_t k = 0; k < sides_of(call); k++)
            bytes += sums_of(backward_grid(strips_of(call, k, false))) * sizeof(float);
        return bytes;
    }
    return (size_t)(x->dims[0] * (call->in[1].shape.dims[1] + 1) * x->dims[2]) * sizeof(double);
}

template <class R> static const char *conv_backward_as(const gpu_call *call) {
    const aira_shape *shape = &call->in[0].shape;
    int batch = (int)shape->dims[0], t_n = (int)shape->dims[1], c_n = (int)shape->dims[2];
    int taps = (int)call->in[1].shape.dims[1];
    int64_t n = call->in[0].n;
    elements x = of(call->in[0]), w = of(call->in[1]), g = of(call->in[2]);
    R *partial = (R *)call->workspace;
    if (n > 0) {
        conv_dx_kernel<R><<<blocks_for(n, 256), 256, 0, call->stream>>>(of(call->out[0]), w, g, n, t_n, c_n, taps);
        dim3 grid((unsigned)((c_n + 63) / 64), (unsigned)batch, (unsigned)(taps + 1));
        conv_dw_kernel<R><<<grid, 64, 0, call->stream>>>(partial, x, g, t_n, c_n, taps);
    }
    conv_join_kernel<R><<<blocks_for((int64_t)(taps + 1) * c_n, 128), 128, 0, call->stream>>>(
        of(call->out[1]), of(call->out[2]), partial, n > 0 ? batch : 0, c_n, taps);
    return gpu_launched();
}

static const char *conv_backward(const gpu_call *call) {
    if (call->merged & GPU_SILU)
        return call->n_in > 4 * sides_of(call) ? strip_conv_backward<__nv_bfloat16, 2>(call)
                                               : strip_conv_backward<__nv_bfloat16, 1>(call);
    if (backward_strips(call))
        return call->in[0].dtype == AIRA_F32 ? strip_conv_backward<float, 0>(call)
                                             : strip_conv_backward<__nv_bfloat16, 0>(call);
    return gpu_is_wide(call) ? conv_backward_as<double>(call) : conv_backward_as<float>(call);
}

extern "C" const gpu_kernel gpu_convolution_kernels[] = {
    {AIRA_OP_CONV1D_CAUSAL, conv, NULL},
    {AIRA_OP_CONV1D_CAUSAL_BACKWARD, conv_backward, conv_backward_workspace},
    {0, NULL, NULL}};
