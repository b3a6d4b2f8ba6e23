// Owner: one loop. One TLS connection between the backend's completions and the parsers: ciphertext
// that was received becomes plaintext, and what is queued to be sent becomes records. It makes no
// system call; receives and sends stay the backend's operations, whatever backend that is.
//
//     receive ── ciphertext ──▶ OpenSSL ── plaintext ──▶ engine.opened ──▶ parsers
//                                  │ handshake, tickets, alerts
//     send ◀── session.sealed ◀────┴──── records ◀──── SendQueue (plaintext)
//
// Memory: OpenSSL reads and writes through the loop's window, so a session has no BIO buffers. One
// that is idle costs about 14 KB, almost all of it OpenSSL's (Benchmarks/README.md has the figure);
// one with half a record received holds 17 KB more until its rest has come. A handshake that does
// not go on holds 47 KB (measured with half a ClientHello), and with client certificates 32 KB more
// at the most, until its time is over. A connection that has said nothing has no session yet: 270
// bytes. What a client does not read is bounded by the outbox, in which records count as they are.
// A record costs OpenSSL two allocations: that is the price of giving buffers back.

import Bytes
import CTLS

/// Owner: one loop. The memory that its sessions use in turn: none needs it between two calls.
@safe public final class TLSEngine {
    // Safety: all four live as long as this object, which each session retains; the window points
    // at ciphertext only while a session is being called, and at the output room always.
    let window = UnsafeMutablePointer<ctls_window>.allocate(capacity: 1)
    private let output: UnsafeMutableRawPointer
    private let plaintext: UnsafeMutableRawPointer
    /// A record's worth, for gathering small segments.
    let gathering: UnsafeMutableRawBufferPointer

    /// RFC 8446 5.1.
    static let recordBytesMax = 16_384
    /// A whole record, whatever its version adds, and answers to the peer's key updates.
    static let outputBytes = 2 * recordBytesMax
    /// What one receive can bring: less than a buffer of whole records, and one of which the rest
    /// was kept.
    static let plaintextBytesMax = ReceivePool.bufferBytes + recordBytesMax

    private let credentials: TLSCredentials
    private var context: TLSContext?
    private var generation: UInt64 = 0
    /// OpenSSL's words for the last failure.
    public var lastReason: String { unsafe String(cString: ctls_reason(window.pointee.error)) }

    public init(_ credentials: TLSCredentials) {
        self.credentials = credentials
        unsafe output = .allocate(byteCount: Self.outputBytes, alignment: 64)
        unsafe plaintext = .allocate(
            byteCount: Self.plaintextBytesMax + ByteBlock.paddingBytes, alignment: 64)
        unsafe gathering = .allocate(byteCount: Self.recordBytesMax, alignment: 64)
        unsafe window.initialize(
            to: ctls_window(
                input: nil, input_count: 0,
                output: output.bindMemory(to: UInt8.self, capacity: Self.outputBytes),
                output_count: 0, output_capacity: Self.outputBytes, error: 0))
    }

    deinit {
        unsafe gathering.deallocate()
        unsafe plaintext.deallocate()
        unsafe output.deallocate()
        unsafe window.deallocate()
    }

    /// The plaintext of the last receive, writable (frames are unmasked in place). Valid until the
    /// next.
    @_lifetime(borrow self) public func opened(_ byteCount: Int) -> MutableRawSpan {
        precondition(
            byteCount >= 0 && byteCount <= Self.plaintextBytesMax, "more than a receive can bring")
        // Safety: OpenSSL has written byteCount bytes, which stay until the next receive.
        let span = unsafe MutableRawSpan(_unsafeStart: plaintext, byteCount: byteCount)
        return unsafe _overrideLifetime(span, borrowing: self)
    }

    func newPointer() -> OpaquePointer? {
        credentials.refresh(&context, &generation)
        guard let context else { return nil }
        // Safety: the window outlives the session, which retains this engine.
        return unsafe ctls_session_new(context.pointer, window)
    }

    /// One step of a session. Negative: what it came to.
    func read(_ session: OpaquePointer, after filled: Int) -> Int {
        let room = Self.plaintextBytesMax - filled
        precondition(room > 0, "a receive brought more plaintext than it can")
        // Safety: room bytes are free behind those that are filled.
        return unsafe ctls_read(session, window, plaintext + filled, room)
    }

    /// Moves the ciphertext that OpenSSL has written behind what waits already; returns its bytes.
    @discardableResult
    func drain(
        into session: TLSSession, _ queue: inout SendQueue, _ segments: SegmentPool
    ) -> Int {
        let count = unsafe window.pointee.output_count
        guard count > 0 else { return 0 }
        // Safety: OpenSSL has written count bytes into the room.
        let span = unsafe RawSpan(_unsafeStart: output, byteCount: count)
        segments.append(span, to: &session.sealed)
        queue.byteCount += count
        unsafe window.pointee.output_count = 0
        return count
    }
}

/// What a receive came to.
public struct TLSReceived: BitwiseCopyable {
    public enum End: BitwiseCopyable {
        case none
        /// close_notify: the peer will send nothing more.
        case closed
        /// Fatal. The alert, if there is one, waits to be sent.
        case failed
        /// The first bytes are an HTTP request: the client speaks plain text to this port.
        case plainHTTP
    }

    /// Plaintext, which lies in the engine's `opened`; comes before the end.
    public var byteCount = 0
    public var didEstablish = false
    public var end = End.none
}

@safe public final class TLSSession {
    public enum State: UInt8 {
        /// Nothing has come: not even OpenSSL's memory has been taken yet.
        case silent
        case handshaking, established
        /// close_notify is queued or sent: nothing may follow it.
        case leaving
        case failed
    }

    let engine: TLSEngine
    // Safety: made once, freed in deinit, used by the loop's thread only.
    private var pointer: OpaquePointer?
    public private(set) var state = State.silent
    /// The peer's close_notify has come.
    public private(set) var peerHasClosed = false
    /// Records that wait to be sent, and the send that is in flight.
    var sealed = SendQueue()
    var sealedBytes: Int { sealed.byteCount }
    /// What OpenSSL answered by itself since the handshake: key updates, refused renegotiations.
    private var answeredBytes = 0
    /// About 150 key updates. Each costs us 13 µs, and an honest client needs one in millions of
    /// records.
    static let answeredBytesMax = 4096

    public init(_ engine: TLSEngine) { self.engine = engine }

    deinit { if let pointer = unsafe pointer { unsafe ctls_session_free(pointer) } }

    public var isResumed: Bool {
        guard let pointer = unsafe pointer else { return false }
        return unsafe ctls_is_resumed(pointer) != 0
    }

    /// Takes all of the ciphertext. What OpenSSL answers by itself is queued to be sent. An end is
    /// said once; what comes after it is dropped.
    public func receive(
        _ ciphertext: RawSpan, _ queue: inout SendQueue, _ segments: SegmentPool
    ) -> TLSReceived {
        precondition(ciphertext.byteCount <= ReceivePool.bufferBytes, "more than one receive")
        var received = TLSReceived()
        guard state != .failed, !peerHasClosed else { return received }
        if state == .silent { start() }
        guard let pointer = unsafe pointer else {
            received.end = .failed
            return received
        }
        unsafe ciphertext.withUnsafeBytes { bytes in
            // Safety: the bytes live for the call, and the window forgets them at its end.
            unsafe engine.window.pointee.input = bytes.baseAddress?.assumingMemoryBound(
                to: UInt8.self)
            unsafe engine.window.pointee.input_count = bytes.count
            unsafe open(pointer, &received, &queue, segments)
            unsafe engine.window.pointee.input = nil
            unsafe engine.window.pointee.input_count = 0
        }
        return received
    }

    private func start() {
        unsafe pointer = engine.newPointer()
        state = unsafe pointer == nil ? .failed : .handshaking
    }

    private func open(
        _ pointer: OpaquePointer, _ received: inout TLSReceived, _ queue: inout SendQueue,
        _ segments: SegmentPool
    ) {
        while true {
            let count = unsafe engine.read(pointer, after: received.byteCount)
            let drained = engine.drain(into: self, &queue, segments)
            if state == .established { answeredBytes += drained }
            if state == .handshaking, unsafe ctls_is_established(pointer) != 0 {
                state = .established
                received.didEstablish = true
            }
            if count > 0 {
                received.byteCount += count
                continue
            }
            switch count {
            case CTLS_WAITS:
                guard answeredBytes > Self.answeredBytesMax else { return }
                unsafe engine.window.pointee.error = 0
                fail(&received, .failed)
            case CTLS_FULL where drained > 0: continue
            case CTLS_CLOSED:
                peerHasClosed = true
                received.end = .closed
            case CTLS_PLAIN_HTTP: fail(&received, .plainHTTP)
            default: fail(&received, .failed)
            }
            return
        }
    }

    private func fail(_ received: inout TLSReceived, _ end: TLSReceived.End) {
        state = .failed
        received.end = end
    }

    /// One record out of the bytes; false when the session has failed.
    func seal(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let pointer = unsafe pointer, let start = bytes.baseAddress else {
            return false
        }
        // Safety: the bytes live for the call; OpenSSL copies what it keeps.
        let count = unsafe ctls_write(pointer, engine.window, start, bytes.count)
        if count == bytes.count { return true }
        state = .failed
        return false
    }

    /// close_notify, behind everything that is a record already.
    func leave() {
        guard state == .established, let pointer = unsafe pointer else { return }
        unsafe ctls_close(pointer)
        state = .leaving
    }
}
