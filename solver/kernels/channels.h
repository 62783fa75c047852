/* Arrays seen as pictures with the channels last: sums over the pixels of one picture, and numbers of each channel
 * repeated from pixel to pixel. */

typedef struct {
    float *data;
    int64_t count, rows, cols, channels;
    int64_t at, line, pixel, step; /* from picture to picture, row to row, pixel to pixel, channel to channel */
} pictures;

/* 4 axes (n, c, h, w), 3 (n, pixel, c), or 2 (n, c), each row of which is a picture of one pixel. */
AI pictures pictures_of(const brew_array *a) {
    const int64_t nd = a->nd, *size = a->size, *by = a->stride;
    if (nd == 4) return (pictures){a->data, size[0], size[2], size[3], size[1], by[0], by[2], by[3], by[1]};
    if (nd == 3) return (pictures){a->data, size[0], 1, size[1], size[2], by[0], by[1], by[1], by[2]};
    return (pictures){a->data, size[0], 1, 1, size[1], by[0], 0, 0, by[1]};
}

enum { SUM, DOT, SPREAD }; /* the sums of x; of x and of x z; of x - shift and of its square */
enum { SUM_PIXELS = 64 };  /* so many are summed in float32, and those sums in doubles */

/* Add to sum and dot those over up to SUM_PIXELS pixels of nv vectors of channels; four chains of additions at a time
 * hide their latency. */
AI void sum_pixels(const int kind, const int nv, int64_t pixels, const float *x, int64_t xp, const float *z, int64_t zp,
                   const float *shift, double *sum, double *dot) {
    const int chains = 4 / nv;
    vf s[4], d[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) s[k] = d[k] = (vf){0};
    int64_t q = 0;
    for (; q + chains <= pixels; q += chains, x += chains * xp, z += chains * zp)
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) {
            vf v = *(const vf *)(x + k / nv * xp + k % nv * VL);
            if (kind == SPREAD) v -= *(const vf *)(shift + k % nv * VL);
            s[k] += v;
            if (kind == DOT) d[k] += v * *(const vf *)(z + k / nv * zp + k % nv * VL);
            if (kind == SPREAD) d[k] += v * v;
        }
    for (; q < pixels; q++, x += xp, z += zp)
#pragma GCC unroll 4
        for (int k = 0; k < nv; k++) {
            vf v = *(const vf *)(x + k * VL);
            if (kind == SPREAD) v -= *(const vf *)(shift + k * VL);
            s[k] += v;
            if (kind == DOT) d[k] += v * *(const vf *)(z + k * VL);
            if (kind == SPREAD) d[k] += v * v;
        }
#pragma GCC unroll 4
    for (int k = 0; k < nv; k++) {
        vf both[2] = {s[k], d[k]};
#pragma GCC unroll 4
        for (int j = k + nv; j < 4; j += nv) both[0] += s[j], both[1] += d[j];
#pragma GCC unroll 4
        for (int h = 0; h < 2; h++) {
            vd *const to = (vd *)(sum + k * VL + h * VL / 2), *const too = (vd *)(dot + k * VL + h * VL / 2);
            *to += __builtin_convertvector(((const hf *)&both[0])[h], vd);
            if (kind != SUM) *too += __builtin_convertvector(((const hf *)&both[1])[h], vd);
        }
    }
}

AI void sum_block(const int kind, const int nv, const pictures *x, const float *px, const pictures *z, const float *pz,
                  const float *shift, int64_t channels, double *sum, double *dot) {
    double part[2][4 * VL] = {{0}, {0}};
    int64_t rows = x->rows, cols = x->cols;
    const int64_t line = z ? z->line : x->line, pixel = z ? z->pixel : x->pixel;
    if (x->line == cols * x->pixel && line == cols * pixel) cols *= rows, rows = 1;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t q = 0; q < cols; q += SUM_PIXELS)
            sum_pixels(kind, nv, BREW_MIN(SUM_PIXELS, cols - q), px + r * x->line + q * x->pixel, x->pixel,
                       pz + r * line + q * pixel, pixel, shift, part[0], part[1]);
    if (sum)
        for (int64_t c = 0; c < channels; c++) sum[c] += part[0][c];
    if (kind != SUM)
        for (int64_t c = 0; c < channels; c++) dot[c] += part[1][c];
}

/* The same where channels are not side by side. */
AI void sum_strided(const int kind, const pictures *x, const float *px, const pictures *z, const float *pz,
                    const float *shift, int64_t channels, double *sum, double *dot) {
    for (int64_t c = 0; c < channels; c++, px += x->step, pz += z ? z->step : x->step) {
        double s = 0, d = 0;
        for (int64_t r = 0; r < x->rows; r++)
            for (int64_t q = 0; q < x->cols; q++) {
                const double v = px[r * x->line + q * x->pixel] - (kind == SPREAD ? (double)shift[c] : 0.0);
                s += v;
                if (kind == DOT) d += v * pz[r * z->line + q * z->pixel];
                if (kind == SPREAD) d += v * v;
            }
        if (sum) sum[c] += s;
        if (kind != SUM) dot[c] += d;
    }
}

/* Add to sum (unless NULL) and dot, in doubles, those over picture n of x (and z), for these channels from `first` on.
 * They are formed from zero, so that a picture adds the same bits whatever surrounds it. Vectors may read what lies
 * behind the channels. */
AI void picture_sums(const int kind, const pictures *x, const pictures *z, int64_t n, const float *shift, int64_t first,
                     int64_t channels, double *sum, double *dot) {
    const float *px = x->data + n * x->at + first * x->step, *pz = z ? z->data + n * z->at + first * z->step : px;
    if (x->step != 1 || (z && z->step != 1)) {
        sum_strided(kind, x, px, z, pz, shift, channels, sum, dot);
        return;
    }
    for (int64_t c = 0, left; (left = channels - c) > 0;) {
        double *const to = sum ? sum + c : 0, *const too = kind == SUM ? 0 : dot + c;
        const float *from = kind == SPREAD ? shift + c : 0;
        const int nv = left > 3 * VL ? 4 : left > VL ? 2 : 1;
        const int64_t block = BREW_MIN(left, nv * VL);
        if (nv == 4) sum_block(kind, 4, x, px + c, z, pz + c, from, block, to, too);
        else if (nv == 2) sum_block(kind, 2, x, px + c, z, pz + c, from, block, to, too);
        else sum_block(kind, 1, x, px + c, z, pz + c, from, block, to, too);
        c += block;
    }
}

/* Whether array k, broadcast to the first two arrays, holds one number a channel of pictures or of the rows of a
 * matrix, and these have their channels side by side. */
AI int by_channel(const brew_op *op, int k) {
    const int64_t *by = op->a[k].stride, nd = op->a[k].nd;
    const int alone = nd == 4 ? !by[0] && !by[2] && !by[3] : nd == 2 && !by[0];
    return alone && by[1] == 1 && STRIDE(0, 1) == 1 && STRIDE(1, 1) == 1;
}

/* Numbers of each channel, repeated over as many whole pixels as there is room for: a row of pixels, which need not be
 * as many channels as vectors hold, is then a plain loop. */
enum { REPEATED = 1024 };
typedef struct { float room[REPEATED]; } repeated;

/* How long they are. */
AI int64_t repeated_length(int64_t channels) { return channels * BREW_MAX(1, REPEATED / BREW_MAX(1, channels)); }

AI const float *repeat(repeated *to, const float *values, int64_t channels) {
    const int64_t length = repeated_length(channels);
    if (!values || length == channels) return values;
    for (int64_t at = 0; at < length; at += channels) memcpy(to->room + at, values, (size_t)channels * sizeof(float));
    return to->room;
}
