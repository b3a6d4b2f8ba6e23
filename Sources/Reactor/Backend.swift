/// What a loop needs of a kernel interface. Batch-shaped, so that a call that the optimiser failed
/// to specialise costs once a turn. A backend has no policy: no limits, no timeouts, no protocol.
///
/// `EpollBackend` is the first of three; io_uring (multishot accept and receive, provided buffers)
/// and a simulated network with virtual time fit the same verbs.
public protocol Backend: ~Copyable {
    /// `epoll`, `io_uring` or `simulated`, as shown in the ready line.
    static var name: String { get }

    /// Hands all operations over and empties the queue. Outcomes that are known at once are put
    /// into `batch`; the rest come from `wait`. Never blocks.
    mutating func submit(_ operations: OperationQueue, into batch: CompletionBatch)

    /// Collects completions, blocking at most so long for the first; `UInt64.max` means for ever.
    mutating func wait(timeoutNanoseconds: UInt64, into batch: CompletionBatch)
}
