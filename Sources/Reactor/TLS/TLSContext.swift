// What a server shows of itself: certificate, key, and whom it accepts, out of PEM files. All cores
// share one context and with it the ticket keys, so that a session that began on one core resumes
// on another. A handshake costs it a few atomic reference counts, next to a signature that takes a
// hundred times as long, and it holds no cache that cores would meet at a lock of: a context for
// each core would gain nothing and need keys that are shared by other means.

import CTLS
import Synchronization

/// PEM files: a certificate chain, its key, and the authorities of client certificates; nil: no
/// client certificate is asked for.
public struct TLSFiles: Equatable, Sendable {
    public var certificate: String
    public var key: String
    public var clientAuthorities: String?

    public init(certificate: String, key: String, clientAuthorities: String? = nil) {
        self.certificate = certificate
        self.key = key
        self.clientAuthorities = clientAuthorities
    }
}

/// Why files are of no use.
public struct TLSFault: Error, Equatable, Sendable {
    public enum Kind: Sendable {
        case library, certificate, key
        /// Both can be read, and do not belong together.
        case pair
        case clientAuthorities
    }

    public let kind: Kind
    /// OpenSSL's or the system's own words.
    public let reason: String

    public init(kind: Kind, reason: String) {
        self.kind = kind
        self.reason = reason
    }
}

/// An SSL_CTX. Immutable once made; sessions keep what they need of it alive.
@safe public final class TLSContext: @unchecked Sendable {
    // Safety: OpenSSL locks what it changes in a context; the pointer is written once.
    let pointer: OpaquePointer

    /// Reads the files. Blocks: not for a loop's thread.
    public init(_ files: TLSFiles) throws(TLSFault) {
        var fault = CTLS_FINE
        var code: UInt = 0
        // Safety: the strings live for the call, the two results are this function's own.
        let made =
            if let authorities = files.clientAuthorities {
                unsafe ctls_context_new(files.certificate, files.key, authorities, &fault, &code)
            } else {
                unsafe ctls_context_new(files.certificate, files.key, nil, &fault, &code)
            }
        guard let made = unsafe made else {
            throw unsafe TLSFault(
                kind: Self.kind(of: fault), reason: String(cString: ctls_reason(code)))
        }
        unsafe pointer = made
    }

    deinit { unsafe ctls_context_free(pointer) }

    private static func kind(of fault: ctls_fault) -> TLSFault.Kind {
        switch fault {
        case CTLS_BAD_CERTIFICATE: .certificate
        case CTLS_BAD_KEY: .key
        case CTLS_BAD_PAIR: .pair
        case CTLS_BAD_CLIENT_CA: .clientAuthorities
        default: .library
        }
    }

    /// When the certificate expires, in seconds since 1970; 0 when it cannot be told.
    public var expirySeconds: Int64 { unsafe ctls_context_expiry(pointer) }
}

/// The context that new handshakes use; shared by all cores, replaced as a whole. The new one has
/// ticket keys of its own, so that a session which an authority that is gone once let in cannot be
/// resumed.
public final class TLSCredentials: Sendable {
    public let files: TLSFiles
    private let current: Mutex<TLSContext>
    /// Counts contexts, so that a loop looks at the lock only when there is a new one.
    private let generation = Atomic<UInt64>(1)

    public init(_ files: TLSFiles) throws(TLSFault) {
        self.files = files
        let context = try TLSContext(files)
        current = Mutex(context)
    }

    /// Reads the files again; when one cannot be used, all stays as it was.
    public func reload() throws(TLSFault) {
        let fresh = try TLSContext(files)
        current.withLock { $0 = fresh }
        generation.add(1, ordering: .releasing)
    }

    public var context: TLSContext { current.withLock { $0 } }

    /// Brings a loop's copy up to date.
    func refresh(_ context: inout TLSContext?, _ known: inout UInt64) {
        let newest = generation.load(ordering: .acquiring)
        guard known != newest else { return }
        context = self.context
        known = newest
    }
}
