/* scan_chunks.cu - Mamba-1's scan by chunks (scan_chunks.cuh), forward. */
#include "scan_chunks.cuh"

/* A thread's chunk: its map, into shared memory, and y as if it began from zeros, and what of the state before it is
 * added to that: by[][] times the state. */
template <int K, int SPANS>
__device__ __forceinline__ void map_chunk(scan_tiles<K, SPANS> &m, const scan_operands<K, SPANS> &in,
                                          const scan_rates &rates, const place &at, float (*y)[2], float (*by)[2][N]) {
    float rate[2][N], p[2][N], h[2][N]; /* p: products of decays, the special functions' unit has enough to do */
    uint32_t u[TIMES], d[TIMES];
    take(u, in.x[0], at);
    take(d, in.x[1], at);
    float2 skip = *(const float2 *)&rates.D[at.channel];
#pragma unroll
    for (int c = 0; c < 2; c++) {
        float4_of A = load4(rates.A[at.channel + c]);
#pragma unroll
        for (int n = 0; n < N; n++) rate[c][n] = A.v[n] * LOG2E;
    }
#pragma unroll
    for (int i = 0; i < TIMES; i++) {
        float4_of B = states_at(m.B, at, i), C = states_at(m.C, at, i);
#pragma unroll
        for (int c = 0; c < 2; c++) {
            float from = one_of(u[i], c), step = one_of(d[i], c), push = step * from;
            y[i][c] = from * (c ? skip.y : skip.x);
#pragma unroll
            for (int n = 0; n < N; n++) {
                float decay = power_of_two(step * rate[c][n]), more = push * B.v[n];
                p[c][n] = i ? p[c][n] * decay : decay;
                h[c][n] = i ? fmaf(decay, h[c][n], more) : more;
                y[i][c] += C.v[n] * h[c][n];
                by[i][c][n] = C.v[n] * p[c][n];
            }
        }
    }
    put_states(m.p, at, p);
    put_states(m.x, at, h);
}

/* The chunk's y given the state before it, h; it takes u's place. */
template <bool GATE, int K, int SPANS>
__device__ __forceinline__ void finish_chunk(scan_operands<K, SPANS> &in, const place &at, float (*y)[2],
                                             const float (*by)[2][N], const float (*h)[N]) {
    uint32_t results[TIMES], z[TIMES] = {};
    if (GATE) take(z, in.x[K - 1], at);
#pragma unroll
    for (int i = 0; i < TIMES; i++) {
#pragma unroll
        for (int c = 0; c < 2; c++) {
            float gate = one_of(z[i], c);
#pragma unroll
            for (int n = 0; n < N; n++) y[i][c] += by[i][c][n] * h[c][n];
            if (GATE) y[i][c] *= gate * sigmoid_near(gate);
        }
        results[i] = pack2(y[i][0], y[i][1]);
    }
    put(in.x[0], at, results);
}

/* y: NULL where only states are wanted. */
template <bool GATE, bool MANY, int SPANS>
__global__ void __launch_bounds__(SPANS * 64, 12 / SPANS) scan_chunks_kernel(chunk_scan s, half16 *y) {
    constexpr int K = GATE ? 3 : 2;
    extern __shared__ __align__(16) unsigned char memory[];
    scan_tiles<K, SPANS> &m = *(scan_tiles<K, SPANS> *)memory;
    const bool half = s.B.dtype == AIRA_BF16 && s.C.dtype == AIRA_BF16;
    const half16 *from[3] = {s.u, s.delta, s.z};
    int b = blockIdx.y, column = blockIdx.x * s.per_group, end = min(s.columns, column + s.per_group), tile = 0;
    place at = place_of<MANY>(s, b);
    at.chunk = kept(at.chunk); /* there are registers for it here */
    float state = 0;           /* after the tile before, of a thread's row of maps */
    int slot = 0;              /* of rates */
    fetch(m.in[0], from, s, at, piece_of<MANY>(s, at, 0, column));
    fetch_rates(m.rates[0], s, column);
    fetch_rates(m.rates[1], s, column + (s.tiles == 1));
    if (!MANY) half ? fetch_half_states(m, s, b, 0) : fetch_states(m, s, b, 0);
    for (int k = 0; column < end; k++) {
        int next_tile = !MANY || tile + 1 == s.tiles ? 0 : tile + 1, next_column = column + (next_tile == 0);
        scan_operands<K, SPANS> &in = m.in[k & 1];
        float by[TIMES][2][N], y_of[TIMES][2], h[2][N];
        if (MANY) __syncthreads(); /* B and C of the tile before have been read */
        if (MANY) fetch_states(m, s, b, tile);
        copy_wait_all();
        arrive<MANY>(k);
        if (next_column < end)
            fetch(m.in[~k & 1], from, s, at, piece_of<MANY>(s, at, next_tile * SPANS * SPAN, next_column));
        map_chunk(m, in, m.rates[slot], at, y_of, by);
        __syncthreads();
        state = follow<false>(m.p, m.x, MANY && tile ? state : 0.0f);
        __syncthreads();
        int later = next_column + (!MANY || next_tile + 1 == s.tiles);
        if (later < end) fetch_rates(m.rates[slot ? slot - 1 : 2], s, later);
        take_states(h, m.x, at);
        if (s.states) {
            float4 *to = states_of<SPANS>(s, b, tile, column);
            to[0] = make_float4(h[0][0], h[0][1], h[0][2], h[0][3]);
            to[SPANS * 64] = make_float4(h[1][0], h[1][1], h[1][2], h[1][3]);
        }
        if (y) {
            finish_chunk<GATE>(in, at, y_of, by, h);
            __syncwarp();
            put_piece(y, in, 0, at, piece_of<MANY>(s, at, tile * SPANS * SPAN, column));
        }
        tile = next_tile;
        column = next_column;
        slot = slot == 2 ? 0 : slot + 1;
    }
}

/* --- calls ------------------------------------------------------------------------------------------------------- */

static bool is_half(const gpu_view *view) { return view->dtype == AIRA_BF16 && (uintptr_t)view->data % 16 == 0; }

bool gpu_scan_chunks_takes(const gpu_call *call) {
    const aira_shape *x = &call->in[0].shape;
    bool back = call->step->op == AIRA_OP_SELECTIVE_SCAN_BACKWARD;
    bool takes = is_half(&call->in[0]) && is_half(&call->in[1]) && is_half(&call->out[0]) && call->in[0].n > 0;
    for (uint32_t k = 6; k < call->n_in; k++) takes = takes && is_half(&call->in[k]); /* g, z */
    if (back) takes = takes && is_half(&call->out[1]);
    if (back && call->merged & GPU_GATE) takes = takes && is_half(&call->out[6]);
    takes = takes && call->in[2].dtype == AIRA_F32 && call->in[5].dtype == AIRA_F32;
    takes = takes && call->in[0].n < (int64_t)1 << 32 && x->dims[2] < 1 << 28;
    return takes && call->in[2].shape.dims[1] <= N && x->dims[0] <= 65535 && x->dims[2] % 8 == 0 &&
           x->dims[1] <= MOST_TILES * MOST_SPANS * SPAN;
}

template <bool GATE, int SPANS, bool MANY>
static const char *scan_forward(const chunk_scan &s, half16 *y, cudaStream_t stream) {
    return launch(scan_chunks_kernel<GATE, MANY, SPANS>, s, (int)sizeof(scan_tiles < GATE ? 3 : 2, SPANS >), stream, y);
}
template <bool GATE> static const char *scan_forward(const chunk_scan &s, half16 *y, cudaStream_t stream) {
    return s.tiles > 1    ? scan_forward<GATE, MOST_SPANS, true>(s, y, stream)
           : s.spans == 1 ? scan_forward<GATE, 1, false>(s, y, stream)
           : s.spans == 2 ? scan_forward<GATE, 2, false>(s, y, stream)
                          : scan_forward<GATE, MOST_SPANS, false>(s, y, stream);
}

const char *gpu_scan_chunks(const gpu_call *call) {
    chunk_scan s = scan_of(call);
    half16 *y = (half16 *)call->out[0].data;
    return s.z ? scan_forward<true>(s, y, call->stream) : scan_forward<false>(s, y, call->stream);
}
const char *gpu_scan_chunks_before(chunk_scan s, cudaStream_t stream) { return scan_forward<false>(s, NULL, stream); }
