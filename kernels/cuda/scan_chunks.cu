/* scan_chunks.cu - Mamba-1's scan by chunks (scan_chunks.cuh), forward. */
#include "scan_chunks.cuh"

/* The chunk's times from the state before it; y takes u's place. */
template <bool GATE, int K, int SPANS>
__device__ __forceinline__ void walk_forward(const scan_tiles<K, SPANS> &m, scan_operands<K, SPANS> &in,
                                             const scan_rates &rates, const place &at, const float (*decay)[TIMES][N],
                                             const float (*push)[TIMES]) {
    float h[2][N];
    float2 skip = *(const float2 *)&rates.D[at.channel];
    uint32_t u[TIMES], z[TIMES] = {};
    take(u, in.x[0], at);
    if (GATE) take(z, in.x[K - 1], at);
    __syncwarp(); /* all lanes have taken u before results take its place */
    take_states(h, m.h, at);
#pragma unroll
    for (int i = 0; i < TIMES; i++) {
        float4_of B = states_at(m.B, at, i), C = states_at(m.C, at, i);
        float y[2];
#pragma unroll
        for (int c = 0; c < 2; c++) {
            float from = one_of(u[i], c), gate = one_of(z[i], c);
            y[c] = from * (c ? skip.y : skip.x);
#pragma unroll
            for (int n = 0; n < N; n++) {
                h[c][n] = decay[c][i][n] * h[c][n] + push[c][i] * B.v[n];
                y[c] += C.v[n] * h[c][n];
            }
            if (GATE) y[c] *= gate * sigmoid_near(gate);
        }
        u[i] = pack2(y[0], y[1]);
    }
    put(in.x[0], at, u);
}

template <bool GATE, bool MANY, int SPANS>
__global__ void __launch_bounds__(SPANS * 64, 12 / SPANS) scan_chunks_kernel(chunk_scan s, half16 *y) {
    constexpr int K = GATE ? 3 : 2;
    extern __shared__ __align__(16) unsigned char memory[];
    scan_tiles<K, SPANS> &m = *(scan_tiles<K, SPANS> *)memory;
    const bool half = s.B.dtype == AIRA_BF16 && s.C.dtype == AIRA_BF16;
    const half16 *from[3] = {s.u, s.delta, s.z};
    int b = blockIdx.y, column = blockIdx.x * s.per_group, end = min(s.columns, column + s.per_group), tile = 0;
    const place at = place_of<MANY>(s, b);
    float state = 0; /* of one thread per state and channel */
    int slot = 0;    /* of rates */
    fetch(m.in[0], from, s, at, piece_of<MANY>(s, at, 0, column));
    fetch_rates(m.rates[0], s, column);
    fetch_rates(m.rates[1], s, column + (s.tiles == 1));
    if (!MANY) half ? fetch_half_states(m, s, b, 0) : fetch_states(m, s, b, 0);
    for (int k = 0; column < end; k++) {
        int next_tile = !MANY || tile + 1 == s.tiles ? 0 : tile + 1, next_column = column + (next_tile == 0);
        scan_operands<K, SPANS> &in = m.in[k & 1];
        float decay[2][TIMES][N], push[2][TIMES];
        if (MANY) __syncthreads(); /* B and C of the tile before have been read */
        if (MANY) fetch_states(m, s, b, tile);
        copy_wait_all();
        arrive<MANY>(k);
        if (next_column < end)
            fetch(m.in[~k & 1], from, s, at, piece_of<MANY>(s, at, next_tile * SPANS * SPAN, next_column));
        map_chunk(m, in, m.rates[slot], at, decay, push);
        __syncthreads();
        if (tile == 0) state = 0;
        if (threadIdx.x < N * WIDTH) state = follow(m.p, m.h, threadIdx.x, state);
        __syncthreads();
        int later = next_column + (!MANY || next_tile + 1 == s.tiles);
        if (later < end) fetch_rates(m.rates[slot ? slot - 1 : 2], s, later);
        walk_forward<GATE>(m, in, m.rates[slot], at, decay, push);
        __syncwarp();
        put_piece(y, in, 0, at, piece_of<MANY>(s, at, tile * SPANS * SPAN, column));
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

template <int SPANS, bool MANY> static const char *scan_forward(const gpu_call *call, const chunk_scan &s) {
    half16 *y = (half16 *)call->out[0].data;
    return s.z ? launch(scan_chunks_kernel<true, MANY, SPANS>, s, (int)sizeof(scan_tiles<3, SPANS>), call->stream, y)
               : launch(scan_chunks_kernel<false, MANY, SPANS>, s, (int)sizeof(scan_tiles<2, SPANS>), call->stream, y);
}

const char *gpu_scan_chunks(const gpu_call *call) {
    chunk_scan s = scan_of(call);
    return s.tiles > 1    ? scan_forward<4, true>(call, s)
           : s.spans == 1 ? scan_forward<1, false>(call, s)
           : s.spans == 2 ? scan_forward<2, false>(call, s)
           : s.spans == 3 ? scan_forward<3, false>(call, s)
                          : scan_forward<4, false>(call, s);
}
