// The thinnest shim over libcurl for the commands that talk to a running service: one request at a
// time, driven and read by the caller, without callbacks into Swift. Its setopt is variadic, which
// Swift cannot call.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct ccurl_client ccurl_client;

/// NULL when there is no memory, or libcurl cannot start. Used by one thread.
ccurl_client *_Nullable ccurl_new(void);
void ccurl_free(ccurl_client *_Nonnull client);

/// Forgets the request before, if any; its connection may be used again.
void ccurl_reset(ccurl_client *_Nonnull client);
/// `line` is "Name: value"; copied. Returns 0, or -1 when there is no memory.
int ccurl_add_header(ccurl_client *_Nonnull client, const char *_Nonnull line);
/// Only the certificates of this PEM file are believed.
void ccurl_set_authorities(ccurl_client *_Nonnull client, const char *_Nonnull path);
/// No proxy of the environment, for what is on this machine.
void ccurl_set_direct(ccurl_client *_Nonnull client);

/// Begins a POST of `body`, which is copied, or with NULL a GET. Returns 0 or a CURLcode.
int ccurl_begin(ccurl_client *_Nonnull client, const char *_Nonnull url, const void *_Nullable body,
                size_t count, long connect_milliseconds);

enum { CCURL_GOING = -1 };
/// Moves bytes for at most so long. CCURL_GOING, or the CURLcode with which it ended: 0 is fine.
int ccurl_drive(ccurl_client *_Nonnull client, int milliseconds);

/// What of the body has come and was not dropped; valid until the next call.
const uint8_t *_Nullable ccurl_bytes(ccurl_client *_Nonnull client, size_t *_Nonnull count);
void ccurl_drop_bytes(ccurl_client *_Nonnull client);

/// 0 until the head is there.
long ccurl_status(ccurl_client *_Nonnull client);
/// The seconds of Retry-After, or 0.
long ccurl_retry_after(ccurl_client *_Nonnull client);
/// The value of the last response's field, or NULL; valid until the next call.
const char *_Nullable ccurl_field(ccurl_client *_Nonnull client, const char *_Nonnull name);
/// What went wrong, in libcurl's words; valid until the next call.
const char *_Nonnull ccurl_reason(ccurl_client *_Nonnull client, int code);

// The CURLcodes that are told apart.
enum {
    CCURL_BAD_URL = 3, CCURL_NO_HOST = 6, CCURL_NO_CONNECTION = 7, CCURL_BODY_TOO_LARGE = 23,
    CCURL_NOT_TRUSTED = 60, CCURL_BAD_AUTHORITIES = 77
};
/// Bytes of a body that may wait to be taken.
enum { CCURL_BYTES_MAX = 32 << 20 };
