import CLinux
import Glibc
import Rings

/// A thread that runs until its body returns. Loops and stores' workers are such threads; nothing
/// of the message path runs on the language's own pool.
@safe public final class WorkerThread: Sendable {
    // Safety: the handle is written once, before anybody can join.
    private let handle: pthread_t

    private final class Start: Sendable {
        let name: String
        let processor: Int?
        let body: @Sendable () -> Void

        init(_ name: String, _ processor: Int?, _ body: @escaping @Sendable () -> Void) {
            self.name = name
            self.processor = processor
            self.body = body
        }
    }

    /// `name` shows in `top -H` (15 bytes at most). `processor` pins the thread; nil leaves it
    /// free.
    public init(name: String, processor: Int? = nil, _ body: @escaping @Sendable () -> Void) {
        let start = unsafe Unmanaged.passRetained(Start(String(name.prefix(15)), processor, body))
            .toOpaque()
        var made = pthread_t()
        let result = unsafe pthread_create(
            &made, nil,
            { argument in
                // Safety: the argument is the retained Start that was passed below, taken once.
                let start = unsafe Unmanaged<Start>.fromOpaque(argument.unsafelyUnwrapped)
                    .takeRetainedValue()
                unsafe cl_name_self(start.name)
                if let processor = start.processor { _ = cl_pin_self(Int32(processor)) }
                start.body()
                return nil
            }, start)
        precondition(result == 0, "the system refused a thread: errno \(result)")
        handle = made
    }

    public func join() { _ = pthread_join(handle, nil) }
}

extension Doorbell {
    /// A bell on a new eventfd.
    public static func make() -> Doorbell {
        let descriptor = cl_eventfd()
        precondition(descriptor >= 0, "the system refused an eventfd: errno \(-descriptor)")
        return Doorbell(
            descriptor: descriptor, write: { _ = cl_ring_bell($0) },
            clear: { _ = cl_read_counter($0) })
    }

    /// For a thread without a loop: blocks until the bell rings or the time is up.
    public func block(milliseconds: Int32) {
        if cl_wait_readable(descriptor, milliseconds) != 0 { silence() }
    }
}
