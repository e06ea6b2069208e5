/* scalar.cuh - elementwise operations on one value, for float and double. Included by interpret.cu and put in front of
 * the kernels that generate.c writes, so it includes nothing itself.
 */
struct math32 {
    typedef float real;
    static __device__ __forceinline__ float exp(float x) { return expf(x); }
    static __device__ __forceinline__ float log(float x) { return logf(x); }
    static __device__ __forceinline__ float log1p(float x) { return log1pf(x); }
    static __device__ __forceinline__ float root(float x) { return sqrtf(x); }
    static __device__ __forceinline__ float tanh(float x) { return tanhf(x); }
    static __device__ __forceinline__ float erf(float x) { return erff(x); }
    static __device__ __forceinline__ float sin(float x) { return sinf(x); }
    static __device__ __forceinline__ float cos(float x) { return cosf(x); }
    static __device__ __forceinline__ float abs(float x) { return fabsf(x); }
    static __device__ __forceinline__ float pow(float x, float y) { return powf(x, y); }
    static __device__ __forceinline__ float trunc(float x) { return truncf(x); }
};

struct math64 {
    typedef double real;
    static __device__ __forceinline__ double exp(double x) { return ::exp(x); }
    static __device__ __forceinline__ double log(double x) { return ::log(x); }
    static __device__ __forceinline__ double log1p(double x) { return ::log1p(x); }
    static __device__ __forceinline__ double root(double x) { return ::sqrt(x); }
    static __device__ __forceinline__ double tanh(double x) { return ::tanh(x); }
    static __device__ __forceinline__ double erf(double x) { return ::erf(x); }
    static __device__ __forceinline__ double sin(double x) { return ::sin(x); }
    static __device__ __forceinline__ double cos(double x) { return ::cos(x); }
    static __device__ __forceinline__ double abs(double x) { return ::fabs(x); }
    static __device__ __forceinline__ double pow(double x, double y) { return ::pow(x, y); }
    static __device__ __forceinline__ double trunc(double x) { return ::trunc(x); }
};

/* One function per operation of the op table, by its name. */
template <class M> struct scalar {
    typedef typename M::real R;
#define ONE(name, expression) \
    static __device__ __forceinline__ R name(R a) { return expression; }
#define TWO(name, expression) \
    static __device__ __forceinline__ R name(R a, R b) { return expression; }
    static __device__ __forceinline__ R sigmoid(R x) {
        R e = M::exp(-M::abs(x));
        return x >= 0 ? 1 / (1 + e) : e / (1 + e);
    }
    static __device__ __forceinline__ R gelu(R x, int exact) {
        if (exact) return (R)0.5 * x * (1 + M::erf(x * (R)0.70710678118654752440));
        R u = (R)0.79788456080286535588 * (x + (R)0.044715 * x * x * x);
        return (R)0.5 * x * (1 + M::tanh(u));
    }
    static __device__ __forceinline__ R gelu_slope(R x, int exact) {
        if (exact) {
            R density = (R)0.39894228040143267794 * M::exp((R)-0.5 * x * x);
            return (R)0.5 * (1 + M::erf(x * (R)0.70710678118654752440)) + x * density;
        }
        R u = (R)0.79788456080286535588 * (x + (R)0.044715 * x * x * x);
        R t = M::tanh(u), du = (R)0.79788456080286535588 * (1 + (R)0.134145 * x * x);
        return (R)0.5 * (1 + t) + (R)0.5 * x * (1 - t * t) * du;
    }
    static __device__ __forceinline__ R silu_slope(R x) {
        R s = sigmoid(x);
        return s * (1 + x * (1 - s));
    }
    ONE(NEG, -a)
    ONE(EXP, M::exp(a))
    ONE(LOG, M::log(a))
    ONE(SQRT, M::root(a))
    ONE(RSQRT, 1 / M::root(a))
    ONE(SIGMOID, sigmoid(a))
    ONE(TANH, M::tanh(a))
    ONE(SILU, a *sigmoid(a))
    static __device__ __forceinline__ R GELU(R a, int mode) { return gelu(a, mode); }
    ONE(RELU, a < 0 ? (R)0 : a)
    ONE(SOFTPLUS, a > 0 ? a + M::log1p(M::exp(-a)) : M::log1p(M::exp(a)))
    ONE(SIN, M::sin(a))
    ONE(COS, M::cos(a))
    ONE(ABS, M::abs(a))
    ONE(CAST, a)
    ONE(BROADCAST, a)
    ONE(ASSIGN, a)
    TWO(ADD, a + b)
    TWO(SUB, a - b)
    TWO(MUL, a *b)
    TWO(DIV, a / b)
    TWO(MIN, a != a || b != b ? a + b : a < b ? a : b)
    TWO(MAX, a != a || b != b ? a + b : a > b ? a : b)
    TWO(POW, M::pow(a, b))
    TWO(EQ, a == b)
    TWO(NE, a != b)
    TWO(LT, a < b)
    TWO(LE, a <= b)
    TWO(GT, a > b)
    TWO(GE, a >= b)
    static __device__ __forceinline__ R GELU_BACKWARD(R a, R b, int mode) { return b * gelu_slope(a, mode); }
    TWO(SILU_BACKWARD, b *silu_slope(a))
    static __device__ __forceinline__ R WHERE(R a, R b, R c) { return a != 0 ? b : c; }
#undef ONE
#undef TWO
};
