// What the tests of TLS share: certificates that are made once, a server session with its queue,
// and a client that is driven by hand. Nothing here has a socket.

import Bytes
import CTLSClient
import Glibc
import TestSupport

@testable import Reactor

/// A key with its certificate.
@safe final class TLSIdentity: @unchecked Sendable {
    let pointer: OpaquePointer

    init(_ name: String, issuer: TLSIdentity? = nil) {
        unsafe pointer = ctlsc_identity_new(name, issuer?.pointer)
    }

    deinit { unsafe ctlsc_identity_free(pointer) }

    func writeCertificate(_ path: String) {
        let isWritten = unsafe ctlsc_write_certificate(pointer, path) == 1
        precondition(isWritten, "the certificate cannot be written")
    }

    func writeKey(_ path: String, passphrase: String? = nil) {
        let isWritten =
            if let passphrase {
                unsafe ctlsc_write_key(pointer, path, passphrase) == 1
            } else {
                unsafe ctlsc_write_key(pointer, path, nil) == 1
            }
        precondition(isWritten, "the key cannot be written")
    }
}

/// PEM files in a folder of their own, removed with this object.
final class PEMFolder: @unchecked Sendable {
    let path: String
    let authority = TLSIdentity("authority")
    let server: TLSIdentity
    var files: TLSFiles { TLSFiles(certificate: file("server.pem"), key: file("server.key")) }
    var mutualFiles: TLSFiles {
        var files = files
        files.clientAuthorities = file("authority.pem")
        return files
    }

    init() {
        var template = Array("/tmp/chat-tls-XXXXXX".utf8CString)
        path = unsafe String(cString: mkdtemp(&template))
        server = TLSIdentity("localhost", issuer: authority)
        server.writeCertificate(file("server.pem"))
        server.writeKey(file("server.key"))
        authority.writeCertificate(file("authority.pem"))
    }

    deinit {
        for name in names { _ = unsafe unlink(file(name)) }
        _ = unsafe rmdir(path)
    }

    private var names = ["server.pem", "server.key", "authority.pem"]

    private func file(_ name: String) -> String { "\(path)/\(name)" }

    /// A path that is removed too.
    func newFile(_ name: String, _ text: String? = nil) -> String {
        names.append(name)
        if let text {
            let handle = unsafe fopen(file(name), "w")
            unsafe fputs(text, handle)
            unsafe fclose(handle)
        }
        return file(name)
    }
}

/// One core's side: an engine, the pool, and one session with its queue.
final class TLSServer {
    let engine: TLSEngine
    let segments = SegmentPool()
    let operations = OperationQueue()
    var session: TLSSession
    var queue = SendQueue()
    var plaintext: [UInt8] = []
    var ends: [TLSReceived.End] = []
    var establishments = 0

    init(_ credentials: TLSCredentials) {
        engine = TLSEngine(credentials)
        session = TLSSession(engine)
    }

    func newSession() {
        segments.clear(session)
        segments.clear(&queue)
        session = TLSSession(engine)
        plaintext = []
        ends = []
        establishments = 0
    }

    /// One receive for each buffer's worth.
    func receive(_ bytes: [UInt8]) {
        for start in stride(from: 0, to: bytes.count, by: ReceivePool.bufferBytes) {
            let piece = Array(bytes[start..<min(start + ReceivePool.bufferBytes, bytes.count)])
            let received = session.receive(piece.raw, &queue, segments)
            keep(received.byteCount)
            if received.didEstablish { establishments += 1 }
            if received.end != .none { ends.append(received.end) }
        }
    }

    private func keep(_ count: Int) {
        let engine = engine
        let opened = engine.opened(count)
        for index in 0..<count { plaintext.append(opened.bytes.byte(at: index)) }
    }

    func send(_ bytes: [UInt8]) { segments.append(bytes.raw, to: &queue) }
    func send(_ block: ByteBlock) { segments.append(block, to: &queue) }

    /// One send, of which the kernel takes up to `bytesMax`. nil: the session can encrypt no more.
    func takeSend(bytesMax: Int = .max, isLast: Bool = false) -> [UInt8]? {
        operations.removeAll()
        guard
            segments.submit(
                &queue, through: session, isLast: isLast, descriptor: 3,
                token: Token(slot: 1, generation: 1), to: operations)
        else { return nil }
        guard let send = operations.operations.last else { return [] }
        var bytes: [UInt8] = []
        for index in Int(send.vectorStart)..<Int(send.vectorStart + send.vectorCount) {
            unsafe bytes += UnsafeRawBufferPointer(
                start: operations.vectors[index].iov_base,
                count: operations.vectors[index].iov_len)
        }
        let taken = min(bytesMax, bytes.count)
        segments.didSend(taken, from: &queue, through: session)
        return Array(bytes.prefix(taken))
    }

    /// Everything that is queued.
    func takeAll(isLast: Bool = false) -> [UInt8] {
        var bytes: [UInt8] = []
        while !queue.isEmpty, let some = takeSend(isLast: isLast), !some.isEmpty { bytes += some }
        return bytes
    }
}

/// OpenSSL as the peer.
@safe final class TLSClient {
    enum Version: Int32, CaseIterable { case tls12 = 0x0303, tls13 = 0x0304 }

    private let pointer: OpaquePointer
    private(set) var plaintext: [UInt8] = []
    private(set) var isClosed = false
    private(set) var hasFailed = false

    /// `earlier`: a client whose session is resumed.
    init(
        _ version: Version, alpn: [String] = [], identity: TLSIdentity? = nil,
        resuming earlier: TLSClient? = nil
    ) {
        let offer = alpn.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
        unsafe pointer = ctlsc_client_new(version.rawValue, offer, offer.count, identity?.pointer)
        if let earlier {
            let hasTicket = unsafe ctlsc_resume(pointer, earlier.pointer) == 1
            precondition(hasTicket, "the server has sent no ticket")
        }
        read()
    }

    deinit { unsafe ctlsc_client_free(pointer) }

    var isEstablished: Bool { unsafe ctlsc_is_established(pointer) != 0 }
    var isResumed: Bool { unsafe ctlsc_is_resumed(pointer) != 0 }
    var alert: Int32 { unsafe ctlsc_alert(pointer) }
    var choseHTTP: Bool { unsafe ctlsc_chose_http(pointer) != 0 }

    func receive(_ bytes: [UInt8]) {
        unsafe ctlsc_give(pointer, bytes, bytes.count)
        read()
    }

    private func read() {
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = unsafe ctlsc_read(pointer, &buffer, buffer.count)
            if count > 0 {
                plaintext += buffer.prefix(count)
                continue
            }
            if count == -2 { isClosed = true }
            if count == -1 { hasFailed = true }
            return
        }
    }

    func take() -> [UInt8] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = unsafe ctlsc_take(pointer, &buffer, buffer.count)
            if count <= 0 { return bytes }
            bytes += buffer.prefix(count)
        }
    }

    func send(_ bytes: [UInt8]) -> Bool { unsafe ctlsc_write(pointer, bytes, bytes.count) == 1 }
    func close() { unsafe ctlsc_close(pointer) }
    func updateKeys() -> Bool { unsafe ctlsc_update_keys(pointer) == 1 }
    func renegotiate() { _ = unsafe ctlsc_renegotiate(pointer) }
}

/// Hands everything over in both directions, until neither has more to say.
func exchange(_ server: TLSServer, _ client: TLSClient) {
    while true {
        let asked = client.take()
        server.receive(asked)
        let answered = server.takeAll()
        client.receive(answered)
        if asked.isEmpty, answered.isEmpty { return }
    }
}
