// Hashes and keyed hashes over libcrypto. All inputs are spans; nothing is kept.

import Bytes
import CCrypto
import CLinux
import ChatModel

public enum Digests {
    public static func sha256(_ span: RawSpan) -> [UInt8] {
        var out = [UInt8](repeating: 0, count: 32)
        // Safety: libcrypto reads byteCount bytes and writes 32.
        unsafe span.withUnsafeBytes { raw in unsafe cc_sha256(raw.baseAddress, raw.count, &out) }
        return out
    }

    /// Base64 of the SHA-1 of `span`, 28 characters (RFC 6455 section 4.2.2).
    public static func base64SHA1(_ span: RawSpan, into writer: ByteWriter) {
        var out = [UInt8](repeating: 0, count: 20)
        // Safety: libcrypto reads byteCount bytes and writes 20.
        unsafe span.withUnsafeBytes { raw in unsafe cc_sha1(raw.baseAddress, raw.count, &out) }
        let alphabet = Array(
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        for start in stride(from: 0, to: 20, by: 3) {
            let left = 20 - start
            let bits =
                UInt32(out[start]) << 16 | (left > 1 ? UInt32(out[start + 1]) << 8 : 0)
                | (left > 2 ? UInt32(out[start + 2]) : 0)
            writer.append(alphabet[Int(bits >> 18)])
            writer.append(alphabet[Int(bits >> 12) & 63])
            writer.append(left > 1 ? alphabet[Int(bits >> 6) & 63] : 0x3D)
            writer.append(left > 2 ? alphabet[Int(bits) & 63] : 0x3D)
        }
    }

    /// The first 128 bits of the SHA-256: collisions are out of reach for anybody.
    public static func digest(_ span: RawSpan) -> Digest {
        unsafe withUnsafeTemporaryAllocation(byteCount: 32, alignment: 8) { raw in
            // Safety: libcrypto reads byteCount bytes and writes 32, which the allocation has.
            let out = unsafe raw.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: UInt8.self)
            unsafe span.withUnsafeBytes { input in
                unsafe cc_sha256(input.baseAddress, input.count, out)
            }
            return unsafe Digest(
                high: UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
                low: UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
        }
    }

    /// HMAC with SHA-2 of 256, 384 or 512 bits, appended; false when libcrypto fails.
    public static func hmac(
        bits: Int, key: RawSpan, _ message: RawSpan, into writer: ByteWriter
    ) -> Bool {
        unsafe withUnsafeTemporaryAllocation(byteCount: 64, alignment: 8) { raw in
            let out = unsafe raw.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: UInt8.self)
            // Safety: libcrypto reads both spans and writes bits / 8 <= 64 bytes.
            let made = unsafe key.withUnsafeBytes { keyBytes in
                unsafe message.withUnsafeBytes { input in
                    unsafe cc_hmac(
                        Int32(bits), keyBytes.baseAddress.unsafelyUnwrapped, keyBytes.count,
                        input.baseAddress,
                        input.count, out)
                }
            }
            guard made == 1 else { return false }
            // Safety: bits / 8 bytes were written.
            writer.append(unsafe RawSpan(_unsafeStart: UnsafeRawPointer(out), byteCount: bits / 8))
            return true
        }
    }

    /// Compares in a time that depends on the lengths alone.
    public static func equalInConstantTime(_ a: RawSpan, _ b: RawSpan) -> Bool {
        guard a.byteCount == b.byteCount, a.byteCount > 0 else { return false }
        return unsafe a.withUnsafeBytes { x in
            // Safety: both spans have the same non-zero count.
            unsafe b.withUnsafeBytes { y in
                unsafe cc_equal(
                    x.baseAddress.unsafelyUnwrapped, y.baseAddress.unsafelyUnwrapped, x.count) == 1
            }
        }
    }

    /// Bytes from the kernel's generator, for keys and seeds.
    public static func random(_ count: Int) -> [UInt8] {
        var out = [UInt8](repeating: 0, count: count)
        let result = unsafe cl_random(&out, count)
        precondition(result == 0, "the kernel gave no random bytes: errno \(-result)")
        return out
    }

    public static func randomSeed() -> UInt64 {
        random(8).reduce(0) { $0 << 8 | UInt64($1) }
    }
}
