#include "CSimdjson.h"
#include <new>
#include <simdjson.h>

struct csj_parser { simdjson::dom::parser parser; explicit csj_parser(size_t capacity) : parser(capacity) {} };

extern "C" csj_parser *csj_create(size_t capacity, size_t depth) {
    auto *p = new (std::nothrow) csj_parser(capacity);
    if (p && p->parser.allocate(capacity, depth)) { delete p; return nullptr; }
    return p;
}
extern "C" void csj_destroy(csj_parser *p) { delete p; }
extern "C" size_t csj_padding(void) { return simdjson::SIMDJSON_PADDING; }
extern "C" int csj_parse(csj_parser *p, const void *bytes, size_t count, csj_document *out) {
    simdjson::dom::element root;
    auto error = p->parser.parse(static_cast<const uint8_t *>(bytes), count, false).get(root);
    if (error) return error;
    out->tape = p->parser.doc.tape.get();
    out->tape_count = static_cast<size_t>(out->tape[0] & 0x00FFFFFFFFFFFFFFull) + 1;
    out->strings = p->parser.doc.string_buf.get();
    // Each string is written as 4 bytes of length, its bytes and a NUL, none longer than the input allows.
    out->strings_count = 5 * count / 3 + simdjson::SIMDJSON_PADDING;
    return 0;
}
