#include "CCurl.h"
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

struct ccurl_client {
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers;
    uint8_t *bytes;
    size_t count, capacity;
    int is_added;
    char reason[CURL_ERROR_SIZE];
};

_Static_assert(CCURL_BAD_URL == CURLE_URL_MALFORMAT && CCURL_NO_HOST == CURLE_COULDNT_RESOLVE_HOST &&
               CCURL_NO_CONNECTION == CURLE_COULDNT_CONNECT && CCURL_BODY_TOO_LARGE == CURLE_WRITE_ERROR &&
               CCURL_NOT_TRUSTED == CURLE_PEER_FAILED_VERIFICATION &&
               CCURL_BAD_AUTHORITIES == CURLE_SSL_CACERT_BADFILE, "libcurl's numbers");

static size_t take(char *data, size_t size, size_t count, void *context) {
    ccurl_client *c = context;
    size_t more = size * count;
    if (more > CCURL_BYTES_MAX - c->count) return 0; // Ends the transfer with CURLE_WRITE_ERROR.
    if (c->count + more > c->capacity) {
        size_t wanted = c->capacity ? c->capacity : 16384;
        while (wanted < c->count + more) wanted *= 2;
        uint8_t *grown = realloc(c->bytes, wanted);
        if (!grown) return 0;
        c->bytes = grown;
        c->capacity = wanted;
    }
    memcpy(c->bytes + c->count, data, more);
    c->count += more;
    return more;
}

ccurl_client *ccurl_new(void) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT)) return NULL;
    ccurl_client *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->multi = curl_multi_init();
    c->easy = curl_easy_init();
    if (!c->multi || !c->easy) { ccurl_free(c); return NULL; }
    ccurl_reset(c);
    return c;
}

void ccurl_free(ccurl_client *c) {
    if (c->is_added) curl_multi_remove_handle(c->multi, c->easy);
    if (c->easy) curl_easy_cleanup(c->easy);
    if (c->multi) curl_multi_cleanup(c->multi);
    curl_slist_free_all(c->headers);
    free(c->bytes);
    free(c);
}

void ccurl_reset(ccurl_client *c) {
    if (c->is_added) curl_multi_remove_handle(c->multi, c->easy);
    c->is_added = 0;
    curl_easy_reset(c->easy);
    curl_slist_free_all(c->headers);
    c->headers = NULL;
    c->count = 0;
    c->reason[0] = 0;
    curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, c->reason);
    curl_easy_setopt(c->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c->easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
}

int ccurl_add_header(ccurl_client *c, const char *line) {
    struct curl_slist *more = curl_slist_append(c->headers, line);
    if (!more) return -1;
    c->headers = more;
    return 0;
}

void ccurl_set_authorities(ccurl_client *c, const char *path) {
    curl_easy_setopt(c->easy, CURLOPT_CAINFO, path);
    curl_easy_setopt(c->easy, CURLOPT_CAPATH, NULL);
}

void ccurl_set_direct(ccurl_client *c) { curl_easy_setopt(c->easy, CURLOPT_PROXY, ""); }

int ccurl_begin(ccurl_client *c, const char *url, const void *body, size_t count, long connect_milliseconds) {
    CURLcode code = curl_easy_setopt(c->easy, CURLOPT_URL, url);
    if (code) return (int)code;
    curl_easy_setopt(c->easy, CURLOPT_CONNECTTIMEOUT_MS, connect_milliseconds);
    if (body) {
        curl_easy_setopt(c->easy, CURLOPT_POST, 1L);
        curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)count);
        code = curl_easy_setopt(c->easy, CURLOPT_COPYPOSTFIELDS, body);
        if (code) return (int)code;
    }
    if (ccurl_add_header(c, "Expect:")) return CURLE_OUT_OF_MEMORY;
    curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers);
    if (curl_multi_add_handle(c->multi, c->easy) != CURLM_OK) return CURLE_FAILED_INIT;
    c->is_added = 1;
    return 0;
}

int ccurl_drive(ccurl_client *c, int milliseconds) {
    int running = 0, left = 0;
    if (curl_multi_perform(c->multi, &running) != CURLM_OK) return CURLE_FAILED_INIT;
    if (running && milliseconds > 0 && c->count == 0) {
        curl_multi_poll(c->multi, NULL, 0, milliseconds, NULL);
        if (curl_multi_perform(c->multi, &running) != CURLM_OK) return CURLE_FAILED_INIT;
    }
    for (CURLMsg *m; (m = curl_multi_info_read(c->multi, &left));)
        if (m->msg == CURLMSG_DONE) return (int)m->data.result;
    return CCURL_GOING;
}

const uint8_t *ccurl_bytes(ccurl_client *c, size_t *count) { *count = c->count; return c->bytes; }
void ccurl_drop_bytes(ccurl_client *c) { c->count = 0; }

long ccurl_status(ccurl_client *c) {
    long status = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

long ccurl_retry_after(ccurl_client *c) {
    curl_off_t seconds = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RETRY_AFTER, &seconds);
    return (long)seconds;
}

const char *ccurl_field(ccurl_client *c, const char *name) {
    struct curl_header *found;
    return curl_easy_header(c->easy, name, 0, CURLH_HEADER, -1, &found) == CURLHE_OK ? found->value : NULL;
}

const char *ccurl_reason(ccurl_client *c, int code) {
    return c->reason[0] ? c->reason : curl_easy_strerror((CURLcode)code);
}
