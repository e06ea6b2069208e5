/* tests/unit/base_hash.c - published check values of SHA-256 (FIPS 180-4 examples) and CRC-32C (RFC 3720 B.4). */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/fs.h"
#include "core/base/hash.h"
#include "core/base/json.h"

Test(base_hash, sha256_vectors) {
    static const char *const rows[][2] = {{"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
                                          {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
                                          {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                                           "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
                                          {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjkl"
                                           "mnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
                                           "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"}};
    char hex[65];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        aira__sha256_hex(rows[i][0], strlen(rows[i][0]), hex);
        cr_assert_str_eq(hex, rows[i][1]);
    }
    char *million = malloc(1000000);
    memset(million, 'a', 1000000);
    aira__sha256_hex(million, 1000000, hex);
    cr_assert_str_eq(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
}

Test(base_hash, any_cut_gives_the_same) {
    uint8_t data[300], whole[32], parts[32];
    for (int i = 0; i < 300; i++) data[i] = (uint8_t)(i * 7);
    aira__sha256(data, sizeof data, whole);
    for (size_t cut = 0; cut <= sizeof data; cut++) {
        aira__sha256_ctx ctx;
        aira__sha256_start(&ctx);
        aira__sha256_add(&ctx, data, cut);
        aira__sha256_add(&ctx, data + cut, sizeof data - cut);
        aira__sha256_finish(&ctx, parts);
        cr_assert_arr_eq(whole, parts, 32, "cut at %zu", cut);
    }
}

/* Long runs of blocks may be done by other instructions than short ones. */
Test(base_hash, long_and_short_pieces_agree) {
    enum { size = 70001 };
    uint8_t *data = malloc(size), whole[32], pieces[32];
    for (size_t i = 0; i < size; i++) data[i] = (uint8_t)(i * 131 + (i >> 7) * 17);
    aira__sha256(data, size, whole);
    aira__sha256_ctx ctx;
    aira__sha256_start(&ctx);
    for (size_t i = 0; i < size; i += 100) aira__sha256_add(&ctx, data + i, size - i < 100 ? size - i : 100);
    aira__sha256_finish(&ctx, pieces);
    cr_assert_arr_eq(whole, pieces, sizeof whole);
    free(data);
}

Test(base_hash, files) {
    char path[] = "/tmp/aira-hash-XXXXXX", hex[65];
    aira_error error = {0};
    close(mkstemp(path));
    cr_assert_eq(aira__file_write_atomic(path, "abc", 3, &error), AIRA_OK);
    cr_assert_eq(aira__sha256_file(path, hex, &error), AIRA_OK);
    cr_assert_str_eq(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(aira__sha256_file(path, hex, &error), AIRA_E_IO);
    cr_assert_eq(aira__sha256_file("/", hex, &error), AIRA_E_IO);
    cr_assert_str_eq(error.text, "cannot read '/': Is a directory");
}

Test(base_hash, crc32c_vectors) {
    uint8_t zeros[32] = {0}, ones[32], rising[32];
    memset(ones, 255, sizeof ones);
    for (int i = 0; i < 32; i++) rising[i] = (uint8_t)i;
    cr_assert_eq(aira__crc32c(0, "123456789", 9), 0xe3069283u);
    cr_assert_eq(aira__crc32c(0, zeros, 32), 0x8a9136aau);
    cr_assert_eq(aira__crc32c(0, ones, 32), 0x62a8ab43u);
    cr_assert_eq(aira__crc32c(0, rising, 32), 0x46dd794eu);
    cr_assert_eq(aira__crc32c(aira__crc32c(0, "1234", 4), "56789", 5), 0xe3069283u);
}

Test(base_hash, canonical_json) {
    aira_error error = {0};
    const char *one = "{\"b\": [1, 2.5, null], \"a\": \"é\"}", *two = "{\"a\":\"\\u00e9\",\"b\":[1,2.5,null]}";
    json_t *a = aira__json_parse(one, strlen(one), "t", &error), *b = aira__json_parse(two, strlen(two), "t", &error);
    char x[65], y[65];
    cr_assert_eq(aira__json_hash(a, x, &error), AIRA_OK);
    cr_assert_eq(aira__json_hash(b, y, &error), AIRA_OK);
    cr_assert_str_eq(x, y);
    char *text = aira__json_canonical(a);
    cr_assert_str_eq(text, "{\"a\":\"é\",\"b\":[1,2.5,null]}");
    free(text);
    json_decref(a);
    json_decref(b);
    cr_assert_null(aira__json_canonical(NULL));
    static const char *const bad[][2] = {
        {"{\"a\":1,\"a\":2}", "t:1:10: not valid JSON: duplicate object key near '\"a\"'"},
        {"{\n\"a\" 1}", "t:2:5: not valid JSON: ':' expected near '1'"},
        {"", "t:1:1: not valid JSON: unexpected token near end of file"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_null(aira__json_parse(bad[i][0], strlen(bad[i][0]), "t", &error));
        cr_assert(strncmp(error.text, bad[i][1], 24) == 0, "%s", error.text);
    }
}
