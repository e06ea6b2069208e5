/* tests/unit/base_arrays.c - .npy and safetensors: round trips, bytes as other programs write them, every refusal. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/buf.h"
#include "core/base/fs.h"
#include "core/base/npy.h"
#include "core/base/safetensors.h"

static char folder[64];
static void in_folder(void) {
    snprintf(folder, sizeof folder, "/tmp/aira-arrays-XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    cr_assert_eq(chdir(folder), 0);
}
static void remove_folder(void) { cr_assert_eq(aira__remove_tree(folder, NULL), AIRA_OK); }
TestSuite(base_arrays, .init = in_folder, .fini = remove_folder);

Test(base_arrays, npy_round_trip) {
    aira_error error = {0};
    const int32_t data[6] = {1, -2, 3, 4, 5, -100};
    const int64_t shape[2] = {2, 3};
    aira__npy a;
    cr_assert_eq(aira__npy_write("a.npy", AIRA_NPY_I32, data, shape, 2, &error), AIRA_OK);
    cr_assert_eq(aira__npy_open("a.npy", &a, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(a.type, AIRA_NPY_I32);
    cr_assert_eq(a.rank, 2);
    cr_assert_eq(a.shape[0], 2);
    cr_assert_eq(a.shape[1], 3);
    cr_assert_eq(memcmp(a.data, data, sizeof data), 0);
    cr_assert_eq(aira__npy_int(&a, 5), -100);
    aira__npy_close(&a);
    char *bytes; /* exactly what NumPy writes */
    size_t n;
    cr_assert_eq(aira__file_read("a.npy", 1000, &bytes, &n, &error), AIRA_OK);
    cr_assert_eq(n, 128 + 24);
    cr_assert_eq(
        memcmp(bytes, "\x93NUMPY\x01\x00\x76\x00{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }", 69), 0);
    cr_assert_eq(bytes[127], '\n');
    free(bytes);
    const float one = 2.5f;
    const int64_t single = 1, none = 0;
    cr_assert_eq(aira__npy_write("b.npy", AIRA_NPY_F32, &one, &single, 1, &error), AIRA_OK);
    cr_assert_eq(aira__npy_open("b.npy", &a, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(a.elements, 1);
    cr_assert_eq(*(const float *)a.data, 2.5f);
    aira__npy_close(&a);
    cr_assert_eq(aira__npy_write("c.npy", AIRA_NPY_F32, &one, NULL, 0, &error), AIRA_OK);
    cr_assert_eq(aira__npy_open("c.npy", &a, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(a.rank, 0);
    cr_assert_eq(a.elements, 1);
    aira__npy_close(&a);
    cr_assert_eq(aira__npy_write("d.npy", AIRA_NPY_F32, NULL, &none, 1, &error), AIRA_OK);
    cr_assert_eq(aira__npy_open("d.npy", &a, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(a.elements, 0);
    aira__npy_close(&a);
}

Test(base_arrays, npy_in_pieces) {
    aira_error error = {0};
    const int64_t shape[2] = {2, 2};
    const int32_t row[2] = {7, 8};
    aira__npy_writer *writer;
    cr_assert_eq(aira__npy_writer_open("p.npy", AIRA_NPY_I32, shape, 2, &writer, &error), AIRA_OK);
    cr_assert_eq(aira__npy_writer_add(writer, row, 2, &error), AIRA_OK);
    cr_assert_eq(aira__npy_writer_commit(writer, &error), AIRA_E_FAILED);
    cr_assert_str_eq(error.text, "'p.npy': 2 elements were written, its shape holds 4");
    cr_assert(!aira__file_exists("p.npy"));
    cr_assert_eq(aira__npy_writer_open("p.npy", AIRA_NPY_I32, shape, 2, &writer, &error), AIRA_OK);
    cr_assert_eq(aira__npy_writer_add(writer, row, 2, &error), AIRA_OK);
    cr_assert_eq(aira__npy_writer_add(writer, row, 2, &error), AIRA_OK);
    cr_assert_eq(aira__npy_writer_add(writer, row, 1, &error), AIRA_E_FAILED);
    cr_assert_eq(aira__npy_writer_commit(writer, &error), AIRA_OK);
    cr_assert(aira__file_exists("p.npy"));
}

/* A version 1 file with this dictionary and n zero bytes of data. */
static aira_status parse_npy(const char *dictionary, size_t n, aira__npy *array, aira_error *error) {
    static _Alignas(64) uint8_t bytes[512];
    size_t header = (10 + strlen(dictionary) + 63) / 64 * 64 - 10;
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, "\x93NUMPY\x01\x00", 8);
    bytes[8] = (uint8_t)header;
    memset(bytes + 10, ' ', header);
    memcpy(bytes + 10, dictionary, strlen(dictionary));
    return aira__npy_parse(bytes, 10 + header + n, "t.npy", array, error);
}

Test(base_arrays, npy_foreign_headers) {
    aira_error error = {0};
    aira__npy a;
    static const struct {
        const char *descr;
        aira__npy_type type;
        size_t bytes;
    } rows[] = {{"|u1", AIRA_NPY_U8, 1},  {"<u2", AIRA_NPY_U16, 2}, {"<u4", AIRA_NPY_U32, 4},
                {"<i4", AIRA_NPY_I32, 4}, {"<i8", AIRA_NPY_I64, 8}, {"<f4", AIRA_NPY_F32, 4}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[128];
        snprintf(text, sizeof text, "{'shape': (3,), \"fortran_order\": False,'descr':'%s'}", rows[i].descr);
        cr_assert_eq(parse_npy(text, 3 * rows[i].bytes, &a, &error), AIRA_OK, "%s", error.text);
        cr_assert_eq(a.type, rows[i].type);
        cr_assert_eq(aira__npy_int(&a, 2), 0);
    }
    static const char *const bad[][2] = {
        {"{'descr': '<i4', 'fortran_order': True, 'shape': (2,), }",
         "'t.npy': it is stored in Fortran order; save numpy.ascontiguousarray(a) instead"},
        {"{'descr': '>i4', 'fortran_order': False, 'shape': (2,), }",
         "'t.npy': element type '>i4' is not read; uint8, uint16, uint32, int32, int64 and float32, little-endian, "
         "are"},
        {"{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (2,), }",
         "'t.npy': its element type is not a plain one"},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (99999999999, 99999999999), }",
         "'t.npy': its shape is not one of at most 8 sizes that fit in 64 bits"},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }",
         "'t.npy' holds 8 bytes of data where its shape needs 3 elements of 4"},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (1,), }",
         "'t.npy' holds 8 bytes of data where its shape needs 1 elements of 4"},
        {"{'descr': '<i4', 'shape': (2,), }", "'t.npy': its header is not the dictionary that NumPy writes"},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (2,), 'x': 1}",
         "'t.npy': its header is not the dictionary that NumPy writes"},
        {"{'descr': '<i4', 'fortran_order': False, 'shape': (-2,), }",
         "'t.npy': its shape is not one of at most 8 sizes that fit in 64 bits"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_eq(parse_npy(bad[i][0], 8, &a, &error), AIRA_E_CORRUPT, "%s", bad[i][0]);
        cr_assert_str_eq(error.text, bad[i][1]);
    }
    cr_assert_eq(aira__npy_parse("x", 1, "t.npy", &a, &error), AIRA_E_CORRUPT);
    cr_assert_eq(aira__npy_parse("\x93NUMPY\x03\x00\x00\x00\x00\x00", 12, "t.npy", &a, &error), AIRA_E_CORRUPT);
    cr_assert_str_eq(error.text, "'t.npy': .npy format version 3 is not read (1 and 2 are)");
    cr_assert_eq(aira__npy_parse("\x93NUMPY\x01\x00\xff\xff{}", 12, "t.npy", &a, &error), AIRA_E_CORRUPT);
    cr_assert_str_eq(error.text, "'t.npy' ends within its header");
    cr_assert_eq(aira__npy_open("none", &a, &error), AIRA_E_IO);
    cr_assert_eq(aira__npy_open(".", &a, &error), AIRA_E_CORRUPT);
}

Test(base_arrays, safetensors_round_trip) {
    aira_error error = {0};
    const float w[6] = {1, 2, 3, 4, 5, 6};
    const int64_t step = 42;
    const uint16_t half[2] = {0x3f80, 0x4000};
    const aira__safetensor entries[] = {
        {.name = "layers.0.mA.qkv.weight", .dtype = "F32", .rank = 2, .shape = {2, 3}, .data = w, .bytes = sizeof w},
        {.name = "none", .dtype = "F32", .rank = 1, .shape = {0}, .data = NULL, .bytes = 0},
        {.name = "b", .dtype = "BF16", .rank = 1, .shape = {2}, .data = half, .bytes = 4},
        {.name = "step", .dtype = "I64", .rank = 0, .data = &step, .bytes = 8}};
    const char *const keys[] = {"architecture", "step"}, *const values[] = {"mA M", "42"};
    cr_assert_eq(aira__safetensors_write("w", entries, 4, keys, values, 2, &error), AIRA_OK, "%s", error.text);
    aira__safetensors *st;
    cr_assert_eq(aira__safetensors_open("w", &st, &error), AIRA_OK, "%s", error.text);
    cr_assert_eq(aira__safetensors_count(st), 4);
    cr_assert_str_eq(aira__safetensors_metadata(st, "architecture"), "mA M");
    cr_assert_null(aira__safetensors_metadata(st, "x"));
    for (int i = 0; i < 4; i++) {
        const aira__safetensor *e = aira__safetensors_find(st, entries[i].name);
        cr_assert_not_null(e);
        cr_assert_str_eq(e->dtype, entries[i].dtype);
        cr_assert_eq(e->rank, entries[i].rank);
        cr_assert_eq(e->bytes, entries[i].bytes);
        if (e->bytes > 0) cr_assert_eq(memcmp(e->data, entries[i].data, e->bytes), 0);
    }
    cr_assert_str_eq(aira__safetensors_entry(st, 0)->name, "layers.0.mA.qkv.weight");
    cr_assert_null(aira__safetensors_find(st, "layers.0"));
    aira__safetensors_close(st);
    char *bytes;
    size_t n;
    cr_assert_eq(aira__file_read("w", 10000, &bytes, &n, &error), AIRA_OK);
    cr_assert_eq((n - (sizeof w + 8 + 4)) % 8, 0, "data begins at a multiple of 8");
    free(bytes);
    const aira__safetensor twice[] = {entries[0], entries[0]};
    cr_assert_eq(aira__safetensors_write("x", twice, 2, NULL, NULL, 0, &error), AIRA_E_FAILED);
    cr_assert(!aira__file_exists("x"));
    cr_assert_eq(aira__safetensors_write("empty", NULL, 0, NULL, NULL, 0, &error), AIRA_OK);
    cr_assert_eq(aira__safetensors_open("empty", &st, &error), AIRA_OK, "%s", error.text);
    aira__safetensors_close(st);
}

static aira_status parse_tensors(const char *header, size_t n_data, aira_error *error) {
    aira__buf file = {0};
    uint64_t length = strlen(header);
    aira__safetensors *st = NULL;
    static const char zeros[64];
    aira__buf_add(&file, &length, 8);
    aira__buf_text(&file, header);
    aira__buf_add(&file, zeros, n_data);
    aira_status status = aira__safetensors_parse(file.data, file.size, "t", &st, error);
    aira__safetensors_close(st);
    aira__buf_free(&file);
    return status;
}

Test(base_arrays, safetensors_rules) {
    aira_error error = {0};
    cr_assert_eq(parse_tensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}   ", 8, &error),
                 AIRA_OK, "%s", error.text);
    cr_assert_eq(parse_tensors("{\"b\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[8,12]},"
                               "\"a\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]}}",
                               12, &error),
                 AIRA_OK, "any order in the header");
#define TENSOR(name, shape, offsets) "\"" name "\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
    static const char *const bad[][2] = {
        {"[]", "'t' is not a safetensors file, or is cut short"},
        {" {}", "'t' is not a safetensors file, or is cut short"},
        {"{" TENSOR("a", "[2]", "[0,8]") "," TENSOR("a", "[2]", "[0,8]") "}", "t:1:"},
        {"{\"__metadata__\":{\"k\":1}," TENSOR("a", "[2]", "[0,8]") "}", "'t': __metadata__ 'k' is not a string"},
        {"{\"__metadata__\":[]," TENSOR("a", "[2]", "[0,8]") "}", "'t': __metadata__ is not an object"},
        {"{" TENSOR("a", "[1]", "[4,8]") "}", "'t': tensor 'a' leaves a hole before it"},
        {"{" TENSOR("a", "[1]", "[0,4]") "," TENSOR("b", "[1]", "[0,4]") "}", "'t': tensor 'b' overlaps another one"},
        {"{" TENSOR("a", "[1]", "[0,4]") "}", "'t': 4 bytes at its end belong to no tensor"},
        {"{" TENSOR("a", "[3]", "[0,12]") "}", "'t': tensor 'a' lies outside the file's data"},
        {"{" TENSOR("a", "[3]", "[0,8]") "}", "'t': tensor 'a' has 8 bytes where its shape needs 12"},
        {"{" TENSOR("a", "[2]", "[8,0]") "}", "'t': tensor 'a' lies outside the file's data"},
        {"{" TENSOR("a", "[-2]", "[0,8]") "}", "'t': tensor 'a' has a shape that is not of whole sizes in 64 bits"},
        {"{" TENSOR("a", "[2.0]", "[0,8]") "}", "'t': tensor 'a' has a shape that is not of whole sizes in 64 bits"},
        {"{" TENSOR("a", "[4294967296,4294967296]", "[0,8]") "}",
         "'t': tensor 'a' has a shape that is not of whole sizes in 64 bits"},
        {"{" TENSOR("a", "[1,1,1,1,1,1,1,1,2]", "[0,8]") "}", "'t': tensor 'a' has more than 8 axes"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]}}",
         "'t': tensor 'a' has type U8; F32, F64, BF16, F16, I32, I64 are read"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}}",
         "'t': tensor 'a' does not hold exactly dtype, shape, data_offsets"},
        {"{\"a\":3}", "'t': tensor 'a' does not hold exactly dtype, shape, data_offsets"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_eq(parse_tensors(bad[i][0], 8, &error), AIRA_E_CORRUPT, "%s", bad[i][0]);
        cr_assert_eq(strncmp(error.text, bad[i][1], strlen(bad[i][1])), 0, "%s: %s", bad[i][0], error.text);
    }
    aira__safetensors *st;
    cr_assert_eq(aira__safetensors_parse("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10, "t", &st, &error), AIRA_E_CORRUPT);
    cr_assert_eq(aira__safetensors_open("none", &st, &error), AIRA_E_IO);
}
