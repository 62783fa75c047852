/* Pooling over pictures stored n, h, w, c, one vector of channels at a time.
 * a: x, y[, mask]; i: kernel h w, stride h w, pad h w. Windows as in Caffe: clipped to the picture. Kernels of 2 x 2
 * and 3 x 3 are compiled on their own: with loops of known length a vector costs a third. */

/* [first, last) inside the picture; whole: its size with padding. */
typedef struct { int64_t first, last, whole; } window;

AI window window_at(int64_t out, int64_t kernel, int64_t stride, int64_t pad, int64_t size) {
    const int64_t start = out * stride - pad, end = BREW_MIN(start + kernel, size + pad);
    return (window){BREW_MAX(start, 0), BREW_MIN(end, size), end - start};
}

/* Every vector of channels, from c on. The last one overlaps the one before where the channels do not fill it; where
 * there are fewer than VL, `put` stores what there is. */
#define EACH_LANE \
    for (int64_t from = 0, c = lane(0, channels); from < channels; from += VL, c = lane(from, channels))

AI int64_t lane(int64_t from, int64_t channels) { return BREW_MAX(BREW_MIN(from, channels - VL), 0); }

AI void put(float *to, vf v, int64_t channels) {
    if (channels >= VL) *(vf *)to = v;
    else store_part(to, v, channels);
}

typedef int32_t vi __attribute__((vector_size(4 * VL), aligned(4), may_alias));

/* Take a value into the maximum so far and its place, or into the sum. */
AI void look(const int max, vf x, vi place, vf *best, vi *at) {
    if (!max) {
        *best += x;
        return;
    }
    const vi more = x > *best;
    *best = (vf)(((vi)x & more) | ((vi)*best & ~more)); /* compilers make blends of these, but not through a function */
    *at = (place & more) | (*at & ~more);
}

/* max: whether the maximum is taken, or else the average; side: that of a square kernel if known, else 0. */
AI void pool_forward(const int max, const int side, const brew_op *op) {
    const int64_t channels = SIZE(0, 1), width = SIZE(0, 3), line = STRIDE(0, 2), pixel = STRIDE(0, 3);
    vi offset[9];
#pragma GCC unroll 9
    for (int k = 0; k < side * side; k++) offset[k] = (vi){0} + (int32_t)(k / side * width + k % side);
    for (int64_t n = 0; n < SIZE(1, 0); n++)
        for (int64_t r = 0; r < SIZE(1, 2); r++)
            for (int64_t q = 0; q < SIZE(1, 3); q++) {
                const window h = window_at(r, op->i[0], op->i[2], op->i[4], SIZE(0, 2));
                const window w = window_at(q, op->i[1], op->i[3], op->i[5], SIZE(0, 3));
                const int64_t high = h.last - h.first, wide = w.last - w.first;
                const int32_t start = (int32_t)(h.first * width + w.first);
                const float *x = F(0) + n * STRIDE(0, 0) + h.first * line + w.first * pixel;
                float *y = F(1) + n * STRIDE(1, 0) + r * STRIDE(1, 2) + q * STRIDE(1, 3);
                float *mask = max ? F(2) + n * STRIDE(2, 0) + r * STRIDE(2, 2) + q * STRIDE(2, 3) : 0;
                const float share = max ? 1.0f : 1.0f / (float)(h.whole * w.whole);
                EACH_LANE {
                    vf best = (vf){0} + (max ? -3.402823466e38f : 0.0f);
                    vi place = (vi){0} - 1 - start;
                    if (side && high == side && wide == side) {
#pragma GCC unroll 9
                        for (int k = 0; k < side * side; k++)
                            look(max, *(const vf *)(x + k / side * line + k % side * pixel + c), offset[k], &best,
                                 &place);
                    } else {
                        for (int64_t u = 0; u < high; u++)
                            for (int64_t v = 0; v < wide; v++)
                                look(max, *(const vf *)(x + u * line + v * pixel + c),
                                     (vi){0} + (int32_t)(u * width + v), &best, &place);
                    }
                    put(y + c, best * share, channels);
                    if (max) put(mask + c, (vf)(place + start), channels);
                }
            }
}

AI void pool_forward_any(const int max, const brew_op *op) {
    const int square = op->i[0] == op->i[1];
    if (square && op->i[0] == 2) pool_forward(max, 2, op);
    else if (square && op->i[0] == 3) pool_forward(max, 3, op);
    else pool_forward(max, 0, op);
}

/* The first maximum in row order wins; mask (n, c, h, w as int32) is its place h*W + w, -1 where nothing exceeds
 * -FLT_MAX. */
static void pool_max_forward(const brew_op *op) { pool_forward_any(1, op); }

static void pool_ave_forward(const brew_op *op) { pool_forward_any(0, op); }

/* The places of the maxima as numbers. a: mask, y. */
static void pool_mask(const brew_op *op) {
    for (int64_t n = 0; n < SIZE(1, 0); n++)
        for (int64_t r = 0; r < SIZE(1, 2); r++)
            for (int64_t q = 0; q < SIZE(1, 3); q++) {
                const int32_t *mask = I32(0) + n * STRIDE(0, 0) + r * STRIDE(0, 2) + q * STRIDE(0, 3);
                float *y = F(1) + n * STRIDE(1, 0) + r * STRIDE(1, 2) + q * STRIDE(1, 3);
                for (int64_t c = 0; c < SIZE(1, 1); c++) y[c] = (float)mask[c];
            }
}

/* Backward, the gradient of a pixel is gathered, row by row, from the windows that hold it, and written once. The
 * picture is cut into blocks of stride x stride pixels, from the padding on: block (r, q) begins where window (r, q)
 * does, and its pixel (i, j) lies in window (r - a, q - b) where i + a stride < kernel and j + b stride < kernel. */
typedef struct { int64_t kernel, stride, pad, size, count, reach; } held; /* along one axis; reach: upper bound of a */

AI held held_along(const int side, const int step, const brew_op *op, int axis) {
    const int64_t kernel = side ? side : op->i[axis], stride = step ? step : op->i[2 + axis];
    const int64_t reach = (kernel + stride - 1) / stride;
    return (held){kernel, stride, op->i[4 + axis], SIZE(0, 2 + axis), SIZE(1, 2 + axis), reach};
}

/* What an average is multiplied by: 1 over the window with its padding. Few are cut, and only these cost a division. */
AI float share(const held *h, const held *w, int64_t r, int64_t q, float whole) {
    const int64_t high = BREW_MIN(h->kernel, h->size + 2 * h->pad - r * h->stride);
    const int64_t wide = BREW_MIN(w->kernel, w->size + 2 * w->pad - q * w->stride);
    return high == h->kernel && wide == w->kernel ? whole : 1.0f / (float)(high * wide);
}

/* What a window of maxima in the places `mask` or, where max is 0, of averages sends to the pixel `here`. */
AI vf sent(const int max, vf dy, vi mask, vi here, float share) {
    if (max) return (vf)((vi)dy & (mask == here));
    return dy * share;
}

/* max: whether windows gave their maximum; side, step: kernel and stride if square and known, else 0.
 * a: dx, dy[, mask]. */
AI void pool_backward(const int max, const int side, const int step, const brew_op *op) {
    enum { REACH = 3 };
    const held h = held_along(side, step, op, 0), w = held_along(side, step, op, 1);
    const int64_t channels = SIZE(0, 1), line = STRIDE(1, 2), pixel = STRIDE(1, 3);
    const int64_t mask_line = max ? STRIDE(2, 2) : 0, mask_pixel = max ? STRIDE(2, 3) : 0;
    const int reach = step ? (side + step - 1) / step : 0;
    const float whole = 1.0f / (float)(h.kernel * w.kernel);
    for (int64_t n = 0; n < SIZE(0, 0); n++)
        for (int64_t r = 0; r * h.stride < h.size + h.pad; r++)
            for (int64_t q = 0; q * w.stride < w.size + w.pad; q++) {
                const float *dy = F(1) + n * STRIDE(1, 0) + r * line + q * pixel;
                const int32_t *mask = max ? I32(2) + n * STRIDE(2, 0) + r * mask_line + q * mask_pixel : 0;
                const int64_t u = r * h.stride - h.pad, v = q * w.stride - w.pad; /* the block's first pixel */
                float *dx = F(0) + n * STRIDE(0, 0) + u * STRIDE(0, 2) + v * STRIDE(0, 3);
                if (reach && u >= 0 && u + step <= h.size && v >= 0 && v + step <= w.size) {
                    int there[REACH * REACH];
                    float shares[REACH * REACH];
#pragma GCC unroll 9
                    for (int k = 0; k < reach * reach; k++) {
                        const int64_t a = k / reach, b = k % reach;
                        there[k] = r >= a && r - a < h.count && q >= b && q - b < w.count;
                        shares[k] = max ? 0 : share(&h, &w, r - a, q - b, whole);
                    }
                    EACH_LANE {
                        vf from[REACH * REACH];
                        vi place[REACH * REACH];
#pragma GCC unroll 9
                        for (int k = 0; k < reach * reach; k++) {
                            const int64_t a = k / reach, b = k % reach;
                            from[k] = (vf){0};
                            place[k] = (vi){0} - 1;
                            if (!there[k]) continue;
                            from[k] = *(const vf *)(dy - a * line - b * pixel + c);
                            if (max) place[k] = *(const vi *)(mask - a * mask_line - b * mask_pixel + c);
                        }
#pragma GCC unroll 9
                        for (int p = 0; p < step * step; p++) {
                            const int i = p / step, j = p % step;
                            const vi here = (vi){0} + (int32_t)((u + i) * w.size + v + j);
                            vf sum = {0};
#pragma GCC unroll 9
                            for (int k = reach * reach - 1; k >= 0; k--)
                                if (i + k / reach * step < side && j + k % reach * step < side)
                                    sum += sent(max, from[k], place[k], here, shares[k]);
                            put(dx + i * STRIDE(0, 2) + j * STRIDE(0, 3) + c, sum, channels);
                        }
                    }
                    continue;
                }
                for (int64_t i = BREW_MAX(0, -u); i < h.stride && u + i < h.size; i++)
                    for (int64_t j = BREW_MAX(0, -v); j < w.stride && v + j < w.size; j++) {
                        const vi here = (vi){0} + (int32_t)((u + i) * w.size + v + j);
                        EACH_LANE {
                            vf sum = {0};
                            for (int64_t a = BREW_MIN(h.reach - 1, r); a >= 0 && r - a < h.count; a--)
                                for (int64_t b = BREW_MIN(w.reach - 1, q); b >= 0 && q - b < w.count; b--) {
                                    if (i + a * h.stride >= h.kernel || j + b * w.stride >= w.kernel) continue;
                                    const vf from = *(const vf *)(dy - a * line - b * pixel + c);
                                    vi place = here;
                                    if (max) place = *(const vi *)(mask - a * mask_line - b * mask_pixel + c);
                                    sum += sent(max, from, place, here, max ? 0 : share(&h, &w, r - a, q - b, whole));
                                }
                            put(dx + i * STRIDE(0, 2) + j * STRIDE(0, 3) + c, sum, channels);
                        }
                    }
            }
}

AI void pool_backward_any(const int max, const brew_op *op) {
    const int square = op->i[0] == op->i[1] && op->i[2] == op->i[3];
    if (square && op->i[0] == 1 && op->i[2] == 2) pool_backward(max, 1, 2, op);
    else if (square && op->i[0] == 2 && op->i[2] == 2) pool_backward(max, 2, 2, op);
    else if (square && op->i[0] == 3 && op->i[2] == 2) pool_backward(max, 3, 2, op);
    else if (square && op->i[0] == 3 && op->i[2] == 1) pool_backward(max, 3, 1, op);
    else pool_backward(max, 0, 0, op);
}

/* dx = dy sent to where the maxima were. a: dx, dy, mask. */
static void pool_max_backward(const brew_op *op) { pool_backward_any(1, op); }

/* dx = dy spread evenly over each window. a: dx, dy. */
static void pool_ave_backward(const brew_op *op) { pool_backward_any(0, op); }
