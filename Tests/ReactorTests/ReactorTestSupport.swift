// What the reactor's tests share: real loopback sockets on ports that the kernel chooses, and a
// backend with its queue and batch.

import Bytes
import CLinux
import Glibc
import TestSupport

@testable import Reactor

struct SystemRefused: Error {
    let call: String
    let number: Int32
    init(_ call: String, _ number: Int32 = errno) {
        self.call = call
        self.number = number
    }
}

/// A descriptor of the test's own, closed with it.
final class Socket {
    let descriptor: Int32
    private var isOpen = true

    init(_ descriptor: Int32) { self.descriptor = descriptor }
    deinit { close() }

    func close() {
        if isOpen { Glibc.close(descriptor) }
        isOpen = false
    }

    /// Somebody else closes the descriptor.
    func giveAway() -> Int32 {
        isOpen = false
        return descriptor
    }

    /// Closes with a reset in place of an orderly end.
    func reset() {
        var option = linger(l_onoff: 1, l_linger: 0)
        unsafe setsockopt(
            descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
        close()
    }

    /// All bytes are few enough for the socket's buffer.
    func write(_ bytes: [UInt8]) throws {
        let count = unsafe send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        guard count == bytes.count else { throw SystemRefused("send") }
    }

    /// What has arrived; nil at the end of the stream. Only the far ends of `connection` wait for
    /// it.
    func readSome(_ countMax: Int = 65_536) throws -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: countMax)
        let count = unsafe recv(descriptor, &bytes, countMax, 0)
        if count == 0 { return nil }
        if count < 0 { if errno == EAGAIN { return [] } else { throw SystemRefused("recv") } }
        return Array(bytes.prefix(count))
    }
}

func listener() throws -> Socket {
    let descriptor = unsafe cl_listen("127.0.0.1", 0, 16)
    guard descriptor >= 0 else { throw SystemRefused("listen", -descriptor) }
    return Socket(descriptor)
}

func client(of listener: Socket) throws -> Socket {
    let client = Socket(socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(UInt16(cl_local_port(listener.descriptor)).bigEndian)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let result = unsafe withUnsafePointer(to: &address) { pointer in
        unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { rebound in
            unsafe connect(client.descriptor, rebound, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
    }
    guard result == 0 else { throw SystemRefused("connect") }
    return client
}

/// The two ends of one connection over the loopback; `near` does not block, as the loop's own
/// sockets.
func connection() throws -> (near: Socket, far: Socket) {
    let listener = try listener()
    let far = try client(of: listener)
    let near = cl_accept(listener.descriptor)
    guard near >= 0 else { throw SystemRefused("accept", -near) }
    return (Socket(near), far)
}

/// Two ends that are full exactly when nobody has read: no network stack acknowledges in between.
func localConnection() throws -> (near: Socket, far: Socket) {
    var ends: [Int32] = [-1, -1]
    let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
    guard unsafe socketpair(AF_UNIX, type, 0, &ends) == 0 else { throw SystemRefused("socketpair") }
    return (Socket(ends[0]), Socket(ends[1]))
}

/// A backend with its queue and batch.
final class Rig {
    let pool: ReceivePool
    let operations = OperationQueue()
    private let batch = CompletionBatch()
    private var backend: EpollBackend

    init(buffers: Int = 4) throws {
        pool = ReceivePool(count: buffers)
        guard let backend = EpollBackend(pool: pool) else { throw SystemRefused("epoll_create") }
        self.backend = backend
    }

    var staleEventCount: Int { backend.staleEventCount }

    private func reaped() -> [Completion] {
        let completions = Array(batch.completions)
        batch.removeAll()
        return completions
    }

    /// Submits what is queued; returns what was known at once.
    func submit() -> [Completion] {
        backend.submit(operations, into: batch)
        return reaped()
    }

    func submit(_ kind: OperationKind, _ descriptor: Int32, _ token: Token) -> [Completion] {
        operations.add(kind, descriptor: descriptor, token: token)
        return submit()
    }

    /// Waits for something that must come; the time is a watchdog that no passing test spends.
    func wait() -> [Completion] {
        backend.wait(timeoutNanoseconds: 10_000_000_000, into: batch)
        return reaped()
    }

    /// What is there already. The loopback delivers within the call that sends.
    func poll() -> [Completion] {
        backend.wait(timeoutNanoseconds: 0, into: batch)
        return reaped()
    }

    /// The received bytes; gives the buffer back.
    func take(_ completion: Completion) -> [UInt8] {
        let pool = pool
        let span = pool.bytes(completion.buffer, count: Int(completion.result))
        let bytes = span.bytes.array()
        pool.release(completion.buffer)
        return bytes
    }
}
