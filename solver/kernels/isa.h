/* One instruction set: the includer defines ISA, VL (floats in a vector), MR (rows of the register block) and,
 * where it is not the baseline, TARGET. Every kernel file is compiled once for each. */
#include "brew.h"

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define TABLE PASTE(brew_table_, ISA)

#if defined(TARGET) && !(defined(__x86_64__) || defined(__i386__))
const brew_entry TABLE[] = {{0, 0}};
#else

#ifdef TARGET
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target(TARGET))), apply_to = function)
#else
#define PRAGMA_(x) _Pragma(#x)
#define PRAGMA(x) PRAGMA_(x)
#pragma GCC push_options
PRAGMA(GCC target(TARGET))
#endif
#endif

#include "turn.h"
#include "gemm.h"
#include "correlation.h"
#include "depthwise.h"
#include "few.h"
#include "conv.h"
#include "rows.h"
#include "channels.h"
#include "dense.h"
#include "pool.h"
#include "neuron.h"
#include "activation.h"
#include "eltwise.h"
#include "scale.h"
#include "batch_norm.h"
#include "lrn.h"
#include "loss.h"
#include "sigmoid_loss.h"
#include "update.h"

const brew_entry TABLE[] = {
    {"conv_forward", conv_forward},
    {"conv_backward_weight", conv_backward_weight},
    {"conv_flip", conv_flip},
    {"conv_backward_data", conv_backward_data},
    {"dense_forward", dense_forward},
    {"dense_backward_weight", dense_backward_weight},
    {"bias_backward", bias_backward},
    {"copy", copy},
    {"add", add},
    {"fill", fill},
    {"pool_max_forward", pool_max_forward},
    {"pool_max_backward", pool_max_backward},
    {"pool_mask", pool_mask},
    {"pool_ave_forward", pool_ave_forward},
    {"pool_ave_backward", pool_ave_backward},
    {"relu_forward", relu_forward},
    {"relu_backward", relu_backward},
    {"sigmoid_forward", sigmoid_forward},
    {"sigmoid_backward", sigmoid_backward},
    {"tanh_forward", tanh_forward},
    {"tanh_backward", tanh_backward},
    {"dropout_forward", dropout_forward},
    {"dropout_backward", dropout_backward},
    {"abs_forward", abs_forward},
    {"abs_backward", abs_backward},
    {"bnll_forward", bnll_forward},
    {"bnll_backward", bnll_backward},
    {"clip_forward", clip_forward},
    {"clip_backward", clip_backward},
    {"elu_forward", elu_forward},
    {"elu_backward", elu_backward},
    {"exp_forward", exp_forward},
    {"exp_backward", exp_backward},
    {"log_forward", log_forward},
    {"log_backward", log_backward},
    {"power_forward", power_forward},
    {"power_backward", power_backward},
    {"prelu_forward", prelu_forward},
    {"prelu_backward", prelu_backward},
    {"prelu_backward_slope", prelu_backward_slope},
    {"swish_forward", swish_forward},
    {"swish_backward", swish_backward},
    {"threshold_forward", threshold_forward},
    {"scaled", scaled},
    {"eltwise_sum", eltwise_sum},
    {"eltwise_product", eltwise_product},
    {"eltwise_quotient", eltwise_quotient},
    {"eltwise_max", eltwise_max},
    {"eltwise_max_backward", eltwise_max_backward},
    {"scale_forward", scale_forward},
    {"scale_backward_data", scale_backward_data},
    {"scale_backward_parameters", scale_backward_parameters},
    {"scale_backward_bottom", scale_backward_bottom},
    {"lrn_across_forward", lrn_across_forward},
    {"lrn_across_backward", lrn_across_backward},
    {"lrn_within_forward", lrn_within_forward},
    {"lrn_within_backward", lrn_within_backward},
    {"batch_norm_statistics", batch_norm_statistics},
    {"batch_norm_moments", batch_norm_moments},
    {"batch_norm_running", batch_norm_running},
    {"batch_norm_forward", batch_norm_forward},
    {"batch_norm_sums", batch_norm_sums},
    {"batch_norm_means", batch_norm_means},
    {"batch_norm_backward", batch_norm_backward},
    {"softmax_forward", softmax_forward},
    {"softmax_backward", softmax_backward},
    {"softmax_loss_forward", softmax_loss_forward},
    {"softmax_loss_backward", softmax_loss_backward},
    {"euclidean_forward", euclidean_forward},
    {"euclidean_backward", euclidean_backward},
    {"sigmoid_loss_forward", sigmoid_loss_forward},
    {"sigmoid_loss_backward", sigmoid_loss_backward},
    {"accuracy_forward", accuracy_forward},
    {"sgd_update", sgd_update},
    {"nesterov_update", nesterov_update},
    {"adagrad_update", adagrad_update},
    {"rmsprop_update", rmsprop_update},
    {"adadelta_update", adadelta_update},
    {"adam_update", adam_update},
    {"sum_squares", sum_squares},
    {0, 0},
};

#ifdef TARGET
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
#endif
