// The third backend: completions as epoll or io_uring may give them, from sockets in memory.
//
// What a kernel is free to do it does here at random: reads and writes that are short, sends that
// wait although there is room, completions in any order, few at a time, or one wait later than
// they could have come. What it may not do it never does: a stream keeps its order, one send of a
// descriptor is under way at a time, and bytes are read when they are taken.

import Bytes
import Glibc
import Reactor

struct SimulatedBackend: Backend, ~Copyable {
    static var name: String { "simulated" }

    private let network: SimulatedNetwork
    private let core: Int
    private let pool: ReceivePool
    private var around: Surroundings { network.around }

    init(network: SimulatedNetwork, core: Int, pool: ReceivePool) {
        self.network = network
        self.core = core
        self.pool = pool
    }

    // MARK: Submitting

    mutating func submit(_ queue: OperationQueue, into batch: CompletionBatch) {
        for operation in queue.operations {
            switch operation.kind {
            case .accept:
                network.listeners[core].token = operation.token
                network.listeners[core].isArmed = true
            case .poll:
                network.bells[core].token = operation.token
                network.bells[core].isArmed = true
            case .receive:
                guard let link = network.link(operation.descriptor) else { continue }
                link.token = operation.token
                link.isArmed = true
            case .pauseReceive: network.link(operation.descriptor)?.isArmed = false
            case .send: send(operation, queue, into: batch)
            case .shutdown:
                guard let link = network.link(operation.descriptor) else { continue }
                link.didShutDown = true
                network.endOfStream(link)
            case .close: close(operation.descriptor)
            }
        }
        queue.removeAll()
    }

    private func send(
        _ operation: Operation, _ queue: OperationQueue, into batch: CompletionBatch
    ) {
        guard let link = network.link(operation.descriptor), !link.isClosedByServer else {
            return around.violate("a send on descriptor \(operation.descriptor), which is closed")
        }
        if link.token != operation.token {
            around.violate("a send on link \(link.number) under a stale token")
        }
        if link.blockedSend != nil { around.violate("two sends of one descriptor at a time") }
        if link.didShutDown { around.violate("a send behind the end of the stream") }
        let bytes = queue.lentBytes(operation)
        if around.chance.percent(around.faults.deferredSendPercent)
            || !link.wasReset && link.room == 0
        {
            link.blockedSend = (operation.token, bytes)
            return
        }
        add(take(bytes, link, operation.token), link, to: batch)
    }

    /// As many bytes as fit, or fewer.
    private func take(_ bytes: LentBytes, _ link: Link, _ token: Token) -> Completion {
        if link.wasReset { return Completion(token: token, kind: .send, result: -EPIPE) }
        var count = min(bytes.count, link.room)
        if around.chance.percent(around.faults.shortWritePercent) {
            count = 1 + around.chance.below(count)
        }
        network.transmit(bytes.prefix(count), on: link)
        return Completion(token: token, kind: .send, result: Int32(count))
    }

    /// Most completions are there at once; some come with a later wait.
    private func add(_ completion: Completion, _ link: Link, to batch: CompletionBatch) {
        if around.chance.percent(around.faults.lateCompletionPercent) {
            link.hasLateCompletion = true
            network.late[core].append(completion)
        } else {
            batch.append(completion)
        }
    }

    private func close(_ descriptor: Int32) {
        if descriptor == network.listeners[core].descriptor {
            network.listeners[core].isOpen = false
            for link in network.listeners[core].queue { network.endAtClient(link, reset: true) }
            network.listeners[core].queue = []
            return
        }
        guard let link = network.link(descriptor) else {
            return around.violate("descriptor \(descriptor) is closed twice")
        }
        network.links[Int(descriptor - SimulatedNetwork.firstDescriptor)] = nil
        around.trace.note("link \(link.number) server closes")
        link.isClosedByServer = true
        link.blockedSend = nil
        if link.unreadCount > 0 || link.wasReset {
            // RFC 2525 section 2.17: closing with bytes unread resets the connection.
            network.endAtClient(link, reset: true)
        } else if !link.didShutDown {
            network.endOfStream(link)
        }
    }

    // MARK: Reaping

    /// Never blocks: the simulation lets a core wait by not running it.
    mutating func wait(timeoutNanoseconds: UInt64, into batch: CompletionBatch) {
        reapLate(into: batch)
        if network.bells[core].isArmed, network.bells[core].isRung {
            batch.append(
                Completion(token: network.bells[core].token, kind: .poll, result: 1))
        }
        accept(into: batch)
        var ready = network.links.compactMap { $0 }.filter {
            $0.core == core && network.isReady($0)
        }
        around.chance.shuffle(&ready)
        let countMax = around.chance.percent(20) ? 1 + around.chance.below(4) : 256
        for link in ready.prefix(countMax) { reap(link, into: batch) }
    }

    private func reapLate(into batch: CompletionBatch) {
        guard !network.late[core].isEmpty else { return }
        let completions = network.late[core]
        network.late[core] = []
        for completion in completions { batch.append(completion) }
        for case let link? in network.links where link.core == core {
            link.hasLateCompletion = false
        }
    }

    private func accept(into batch: CompletionBatch) {
        let listener = network.listeners[core]
        guard listener.isOpen, listener.isArmed, !listener.queue.isEmpty else { return }
        if around.chance.permille(around.faults.acceptErrorPermille) {
            network.listeners[core].isArmed = false
            batch.append(Completion(token: listener.token, kind: .accept, result: -EMFILE))
            return
        }
        network.listeners[core].queue = []
        for link in listener.queue {
            let descriptor = network.open(link)
            around.trace.note("link \(link.number) accepted by core \(core)")
            batch.append(Completion(token: listener.token, kind: .accept, result: descriptor))
        }
    }

    private func reap(_ link: Link, into batch: CompletionBatch) {
        if let blocked = link.blockedSend, link.room > 0 || link.wasReset {
            link.blockedSend = nil
            add(take(blocked.bytes, link, blocked.token), link, to: batch)
            if link.hasLateCompletion { return }
        }
        guard link.isArmed else {
            guard link.isHungUp, !link.didReportHangup, link.token != .none else { return }
            link.didReportHangup = true
            batch.append(
                Completion(token: link.token, kind: .receive, buffer: .max, result: -ECONNRESET))
            return
        }
        guard link.isReadable else { return }
        receive(link, into: batch)
    }

    private func receive(_ link: Link, into batch: CompletionBatch) {
        if link.wasReset {
            let result = -ECONNRESET
            batch.append(
                Completion(token: link.token, kind: .receive, buffer: .max, result: result))
            return
        }
        guard link.unreadCount > 0 else {
            batch.append(Completion(token: link.token, kind: .receive, buffer: .max, result: 0))
            return
        }
        var count = min(link.unreadCount, ReceivePool.bufferBytes)
        if around.chance.percent(around.faults.shortReadPercent) {
            count = 1 + around.chance.below(count)
        }
        let bytes = Array(link.inbox[link.inboxStart..<link.inboxStart + count])
        // Without a buffer nothing is read; what is there is reported again.
        // Safety: the array's bytes are only read.
        guard let buffer = pool.lend(unsafe bytes.span.bytes) else { return }
        _ = link.takeFromInbox(count)
        let completion = Completion(
            token: link.token, kind: .receive, buffer: buffer, result: Int32(count))
        add(completion, link, to: batch)
    }
}
