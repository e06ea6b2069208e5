/* ssd_short.cu - Mamba-2 where one chunk holds the sequence (ssd_tensor.cuh has the formulas, ssd_groups.cuh the
 * tiles).
 *
 * One block or two (ssd_short_blocks) own a group of one sequence; two take every other head. Two blocks fit on a
 * multiprocessor. C B' is computed once and stays in registers, from where it goes through the decays into the products
 * with x. B and C, and the first two heads, are under way at once; the space of B and C then takes the heads that
 * follow.
 */
#include "groups.cuh"
#include "shared.cuh"
#include "ssd_groups.cuh"
#include "tables.h"

#define TURNS 6 /* heads for which there is space, and B and C */
#define AHEAD 4 /* heads under way */
#define OPEN 4  /* heads whose running sums are at hand */

struct short_tiles {
    union {
        panel x[TURNS];        /* head n in (n + 4) % TURNS */
        state_tiles states[2]; /* C, B */
    };
    strip_rows out[WARPS];
    /* running sums of dt A as powers of two; the same less the logarithm of dt; D */
    float log[OPEN][Q], late[OPEN][Q], skip[OPEN];
};

static __device__ __forceinline__ panel &turn_of(short_tiles &m, int n) { return m.x[(n + 4) % TURNS]; }

static __device__ __forceinline__ void fetch_head(short_tiles &m, const ssd &s, const chunk &c, int n, int mine, int h,
                                                  int n_rows) {
    if (n < mine)
        fetch_panel<P>(turn_of(m, n), (const half16 *)s.x.data + x_at(s, c, h), (int64_t)s.h_n * P, c.rows, n_rows);
    copy_close();
}

/* One warp: what head n of the block, h of all, takes besides x. */
static __device__ __forceinline__ void open_head(short_tiles &m, const ssd &s, const chunk &c, int n, int h) {
    float *log = m.log[n % OPEN], *late = m.late[n % OPEN];
    int lane = threadIdx.x & 31;
    running_sums(log, late, s, c, h);
#pragma unroll
    for (int i = 4 * lane; i < 4 * lane + 4; i++) late[i] = log[i] - __log2f(late[i]);
    if (lane == 0) m.skip[n % OPEN] = load<float>(s.D, h);
}

/* y += M x of a unit, rows of x from the unit's first column on; on the diagonal D is part of M. log: of the thread's
   rows; late: of the unit's columns, from the thread's first on. The last products are under way at the end. */
template <bool DIAGONAL>
static __device__ __forceinline__ void unit_forward(float *y, const uint32_t *K, const half16 (*x)[64],
                                                    const float *late, const float *log, float skip) {
    int lane = threadIdx.x & 31, strip = warp_of_block() % 4, within = lane / 4 - lane % 4 * 2;
    uint64_t tile = group_tile(x[0]);
    uint32_t M[2][4];
    asm volatile("" : "+r"(within));                                     /* stays in a register */
    float2 at[2] = {*(const float2 *)late, *(const float2 *)(late + 8)}; /* of a piece, loaded in the one before */
#pragma unroll
    for (int n = 0; n < 4; n++) { /* 16 columns */
        uint32_t *now = M[n % 2];
        group_wait_for_older(); /* M of two turns before has been taken */
        now[0] = now[1] = now[2] = now[3] = 0;
        if (!DIAGONAL || n <= strip) /* below the diagonal, for this warp */
#pragma unroll
            for (int k = 0; k < 4; k++) { /* columns eight on, then rows eight below */
                int half = k / 2, low = k % 2, apart = n == strip ? within : 8;
                bool near = DIAGONAL && half == low; /* where i - j is `apart`, on the diagonal */
                uint32_t packed = K[4 * n + k];
                asm volatile("" : "+r"(packed)); /* opened for each head anew: open, K would take twice the registers */
                float2 key = unpacked(packed);
                float first = key.x * power_of_two(log[low] - at[half].x);
                float second = key.y * power_of_two(log[low] - at[half].y);
                if (near) first = apart < 0 ? 0 : apart == 0 ? first + skip : first;
                if (near) second = apart < 1 ? 0 : apart == 1 ? second + skip : second;
                if (DIAGONAL && half > low && n == strip) first = second = 0;
                now[k] = pack(first, second);
            }
#pragma unroll
        for (int half = 0; half < 2 && n < 3; half++) at[half] = *(const float2 *)&late[16 * n + 16 + half * 8];
        group_fence();
        group_multiply(y, now, further(tile, 16 * n * 64));
        group_close();
    }
}

/* y of this warp's times, of head n of the block, h of all. K: the unit of the diagonal, the one before it. The next
   head is there and visible to products when this thread gets to its stores, which the fence would wait for. */
static __device__ __forceinline__ void head_forward(short_tiles &m, const uint32_t (*K)[16], const ssd &s,
                                                    const chunk &c, int n, int h, half16 *to) {
    const panel &x = turn_of(m, n);
    const float *late = &m.late[n % OPEN][(threadIdx.x & 3) * 2];
    int warp = warp_of_block(), row = warp / 4 * UNIT, upper = warp * 16 + (threadIdx.x & 31) / 4;
    float y[32], log[2] = {m.log[n % OPEN][upper], m.log[n % OPEN][upper + 8]}, skip = m.skip[n % OPEN];
#pragma unroll
    for (int k = 0; k < 32; k++) y[k] = 0;
    unit_forward<true>(y, K[0], x + row, late + row, log, skip);
    if (row) unit_forward<false>(y, K[1], x, late, log, skip);
    copy_wait<AHEAD - 1>();
    group_sees_copies();
    group_wait();
    settle<32>(y);
    int64_t step = (int64_t)s.h_n * P;
    put_sums<P>(to + x_at(s, c, h) + warp * 16 * step, step, m.out[warp], y, c.rows - warp * 16);
}

/* blockIdx.x: group and which of its `blocks`, y: sequence */
template <int N> __global__ void __launch_bounds__(WARPS * 32, 2) short_kernel(ssd s, half16 *y, int blocks) {
    extern __shared__ __align__(1024) unsigned char memory[];
    short_tiles &m = *(short_tiles *)memory;
    bool two = blocks > 1;
    chunk c = chunk_of(s, 0, blockIdx.x >> two, blockIdx.y);
    int odd = two ? blockIdx.x % 2 : 0, warp = warp_of_block(), row = warp / 4 * UNIT,
        mine = (c.per + two - odd) >> two;
    int n_rows = c.rows > UNIT ? Q : UNIT, first = c.first + odd; /* heads first, first + blocks .. */
    uint32_t K[2][16] = {};
    fetch_state<N>(m.states[0], s.C, s, c, n_rows);
    fetch_state<N>(m.states[1], s.B, s, c, n_rows);
    copy_close();
    for (int n = 0; n < 2; n++) fetch_head(m, s, c, n, mine, first + blocks * n, n_rows);
    if (warp < OPEN && warp < mine) open_head(m, s, c, warp, first + blocks * warp);
    copy_wait<2>();
    group_sees_copies();
    __syncthreads();
    if (row < c.rows) unit_of_K<N>(K[0], m.states[0], m.states[1], row, row);
    if (row && row < c.rows) unit_of_K<N>(K[1], m.states[0], m.states[1], row, 0);
    __syncthreads(); /* C and B have been read */
    for (int n = 2; n < AHEAD; n++) fetch_head(m, s, c, n, mine, first + blocks * n, n_rows);
    copy_wait<AHEAD - 1>();
    group_sees_copies();
    for (int n = 0; n < mine; n++) {
        __syncthreads(); /* the head is there, and all are done with the one before */
        fetch_head(m, s, c, n + AHEAD, mine, first + blocks * (n + AHEAD), n_rows);
        if (warp == 0 && n > 0 && n + OPEN - 1 < mine)
            open_head(m, s, c, n + OPEN - 1, first + blocks * (n + OPEN - 1));
        if (row < c.rows) {
            head_forward(m, K, s, c, n, first + blocks * n, y);
        } else {
            copy_wait<AHEAD - 1>();
            group_sees_copies();
        }
    }
}

/* --- calls --- */

bool ssd_short_takes(const ssd &s) {
    return s.t_n >= 16 && s.t_n <= Q && !s.cut && s.h_n / s.g_n <= 32 && s.batch <= 65535 &&
           2 * s.g_n <= GPU_COUNTERS && has_groups();
}

int ssd_short_blocks(const ssd &s) { return (int64_t)s.batch * s.g_n >= 64 && s.h_n / s.g_n <= 8 ? 1 : 2; }

template <int N> static const char *forward_as(const gpu_call *call) {
    ssd s = ssd_of(call);
    cudaError_t error = allow_shared(short_kernel<N>);
    if (error != cudaSuccess) return cudaGetErrorString(error);
    int blocks = ssd_short_blocks(s);
    dim3 grid((unsigned)(blocks * s.g_n), (unsigned)s.batch);
    short_kernel<N><<<grid, WARPS * 32, sizeof(short_tiles), call->stream>>>(s, (half16 *)call->out[0].data, blocks);
    return gpu_launched();
}

const char *ssd_short_forward(const gpu_call *call) {
    int64_t n = call->in[3].shape.dims[3];
    return n == 16 ? forward_as<16>(call) : n == 64 ? forward_as<64>(call) : forward_as<128>(call);
}
