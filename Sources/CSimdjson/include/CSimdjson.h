// simdjson's DOM parser behind a C face. The parsed tape and its strings are read from Swift as
// plain memory (simdjson's doc/tape.md), so a walk over a document makes no call at all.
#pragma once
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif
typedef struct csj_parser csj_parser;
typedef struct {
    const uint64_t *_Nullable tape;
    size_t tape_count;
    const uint8_t *_Nullable strings;
    size_t strings_count;
} csj_document;
/// Depth bounds nesting; capacity bounds the bytes of one document.
csj_parser *_Nullable csj_create(size_t capacity, size_t depth);
void csj_destroy(csj_parser *_Nonnull);
size_t csj_padding(void);
/// 0, or simdjson's error code. `bytes` needs csj_padding() readable bytes behind `count`.
/// The document is valid until the next parse.
int csj_parse(csj_parser *_Nonnull, const void *_Nonnull bytes, size_t count, csj_document *_Nonnull out);
#ifdef __cplusplus
}
#endif
