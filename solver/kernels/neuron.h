/* Element-wise layers. Forward a: x, y; backward a: x or y, dy, dx; x may be y, and dy may be dx. */

/* e^x to about 2e-7 relative, in a form that compilers turn into vector code. */
AI float exp_fast(float x) {
    x = x < -87.0f ? -87.0f : x; /* not NaN, which goes on */
    x = x > 88.0f ? 88.0f : x;
    const float n = rintf(x * 1.44269504f);
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    union { uint32_t i; float f; } power = {.i = (uint32_t)((int32_t)n + 127) << 23};
    return p * power.f;
}

AI float sigmoid_of(float x) { return 1.0f / (1.0f + exp_fast(-x)); }

static void relu_forward(const brew_op *op) {
    const float slope = (float)op->f[0];
    FOR_ROWS(0, 1, 1, {
        for (int64_t c = 0; c < len; c++) p1[c] = p0[c] > 0 ? p0[c] : slope * p0[c];
    });
}

static void relu_backward(const brew_op *op) {
    const float slope = (float)op->f[0];
    FOR_ROWS(0, 1, 2, {
        for (int64_t c = 0; c < len; c++) p2[c] = p0[c] > 0 ? p1[c] : slope * p1[c];
    });
}

static void sigmoid_forward(const brew_op *op) {
    FOR_ROWS(0, 1, 1, { for (int64_t c = 0; c < len; c++) p1[c] = sigmoid_of(p0[c]); });
}

static void sigmoid_backward(const brew_op *op) {
    FOR_ROWS(0, 1, 2, { for (int64_t c = 0; c < len; c++) p2[c] = p1[c] * p0[c] * (1 - p0[c]); });
}

static void tanh_forward(const brew_op *op) {
    FOR_ROWS(0, 1, 1, { for (int64_t c = 0; c < len; c++) p1[c] = 2.0f * sigmoid_of(2.0f * p0[c]) - 1.0f; });
}

static void tanh_backward(const brew_op *op) {
    FOR_ROWS(0, 1, 2, { for (int64_t c = 0; c < len; c++) p2[c] = p1[c] * (1 - p0[c] * p0[c]); });
}

/* The last steps of splitmix64 (Steele, Lea and Flood 2014): 64 well-mixed bits from a counter. */
AI uint64_t mix64(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

/* a: x, y, mask, keys (one a sample); i: salt of the layer; f: dropout ratio. An element is dropped as its sample's key,
 * the salt and its place in c, h, w order say, so not as batches, chunks or ranks fall. */
static void dropout_forward(const brew_op *op) {
    const uint64_t limit = (uint64_t)(op->f[0] * 16777216.0);
    const float scale = (float)(1.0 / (1.0 - op->f[0]));
    const int64_t nd = op->a[0].nd;
    const int64_t channels = nd > 1 ? SIZE(0, 1) : 1, height = nd > 2 ? SIZE(0, 2) : 1, width = nd > 3 ? SIZE(0, 3) : 1;
#define AT(k) (n * STRIDE(k, 0) + (nd > 1 ? c * STRIDE(k, 1) : 0) + (nd > 2 ? r * STRIDE(k, 2) : 0) \
               + (nd > 3 ? q * STRIDE(k, 3) : 0))
    for (int64_t n = 0; n < SIZE(0, 0); n++) {
        const uint64_t key = U64(3)[n] ^ mix64((uint64_t)op->i[0]);
        for (int64_t r = 0; r < height; r++)
            for (int64_t q = 0; q < width; q++)
                for (int64_t c = 0; c < channels; c++) {
                    const uint64_t place = (uint64_t)((c * height + r) * width + q);
                    const uint64_t draw = mix64(key + (place + 1) * 0x9E3779B97F4A7C15ULL) >> 40;
                    const float keep = draw >= limit ? scale : 0.0f;
                    F(2)[AT(2)] = keep;
                    F(1)[AT(1)] = F(0)[AT(0)] * keep;
                }
    }
#undef AT
}

/* a: mask, dy, dx. */
static void dropout_backward(const brew_op *op) {
    FOR_ROWS(0, 1, 2, { for (int64_t c = 0; c < len; c++) p2[c] = p0[c] * p1[c]; });
}
