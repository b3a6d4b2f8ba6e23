// Owner: one core. The logic of all conversations that live on it: it gives `seq`, dedupes, keeps
// who follows what, the handler with its fencing token, and runs. It does no I/O and knows no
// clock: requests and outcomes come in, actions go out in order.
//
// Order of a conversation's log: items wait in arrival order; one unit is on its way at a time; its
// outcome is known before the next is built. So `seq` is given late, from what is truly stored, and
// an acknowledged message can never be overtaken or renumbered.
//
// Bounds: states that are idle are dropped when more than the limit are held (second chance); items
// that wait in one conversation, runs that wait, and messages per unit have limits of their own.

import Bytes
import ChatModel

/// What the core must do next, in order.
public enum OwnerAction {
    case commit(CommitUnit)
    case read(OwnerRead)
    case answer(Answer)
    /// To every core of the mask.
    case deliver(Delivery, cores: UInt64)
    /// The user's sockets are to be closed, on every core of the mask.
    case dismiss(UserKey, cores: UInt64)
}

/// Counts for the metrics; only ever grow.
public struct OwnerCounters {
    public var duplicates = 0
    public var conflicts = 0
    public var fencedReplies = 0
    public var refusedFull = 0
    public var runsStarted = 0
    public var runsCancelled = 0
    public var conversationsCreated = 0
    public var cursorWrites = 0
    public var runsExpired = 0
    public var leftWithoutGrace = 0
    public var presenceNotTold = 0
    /// Requests whose conversation was held, or had to be read first.
    public var conversationHits = 0
    public var conversationMisses = 0
    /// Edits that were refused since it was not known whether their message was deleted.
    public var staleChanges = 0
}

public final class ConversationOwner {
    let engine: any ReplyEngine
    var directory: TenantDirectory
    var identifiers: IdentifierSource
    let sessionTimeToLiveMilliseconds: UInt64
    /// How long a run may take before it ends as expired.
    let runLeaseNanoseconds: UInt64
    let encoder = ByteWriter(capacity: 4096)
    /// The bodies of the unit that is being put together.
    let bodies = ByteWriter(capacity: 16_384)

    var conversations: [Identifier: ConversationState] = [:]
    var users: [UserKey: UserState] = [:]
    /// Whose each session is.
    var sessions: [Identifier: UserKey] = [:]
    /// Requests that wait for a conversation to be read.
    var unread: [Identifier: [OwnerRequest]] = [:]
    /// Conversations of which a read is on its way.
    var reading: Set<Identifier> = []
    /// Keys whose message is waiting or on its way.
    var keysInProgress: [Digest: Identifier] = [:]
    /// Sockets that sent the same key again meanwhile.
    var repeatedOrigins: [Digest: [Submission]] = [:]
    var runs: [Identifier: Identifier] = [:]
    /// In the order of their leaving.
    var leaving: [Leaving] = []
    private var conversationClock = SecondChance<Identifier>(
        keysMax: Limits.conversationsCachedPerShard)
    private var userClock = SecondChance<UserKey>(keysMax: Limits.usersCachedPerShard)

    public internal(set) var counters = OwnerCounters()
    /// Actions since the last `takeActions`.
    var actions: [OwnerAction] = []
    var nowMilliseconds: UInt64 = 0
    var nowNanoseconds: UInt64 = 0

    public init(
        engine: any ReplyEngine, directory: TenantDirectory, seed: UInt64,
        sessionTimeToLiveSeconds: UInt64, runLeaseMilliseconds: UInt64 = 30_000
    ) {
        runLeaseNanoseconds = runLeaseMilliseconds * 1_000_000
        self.engine = engine
        self.directory = directory
        identifiers = IdentifierSource(seed: seed)
        sessionTimeToLiveMilliseconds = sessionTimeToLiveSeconds * 1000
        actions.reserveCapacity(256)
    }

    /// Called with the nanoseconds from a message's arrival to the first words of its reply.
    public var whenFirstToken: (UInt64) -> Void = { _ in }

    /// Conversations that are held, by tenant.
    public private(set) var heldByTenant: [Int] = []

    /// Conversations that were closed, by tenant and then by `ClosingReason`.
    public internal(set) var closings: [Int] = []

    public func replaceDirectory(_ directory: TenantDirectory) { self.directory = directory }

    /// The loop's time, once a turn.
    public func setTime(milliseconds: UInt64, nanoseconds: UInt64) {
        nowMilliseconds = milliseconds
        nowNanoseconds = nanoseconds
    }

    /// Hands the actions over in order, and keeps the array's memory.
    public func takeActions(_ body: (OwnerAction) -> Void) {
        var index = 0
        while index < actions.count {
            body(actions[index])
            index += 1
        }
        actions.removeAll(keepingCapacity: true)
    }

    var unitsOnTheirWay = 0

    /// True while a unit has no outcome yet or a run is being streamed.
    public var isBusy: Bool { unitsOnTheirWay > 0 || !runs.isEmpty }

    // MARK: Requests

    public func receive(_ request: OwnerRequest) {
        switch request {
        case .submit(let submission): submit(submission)
        case .command(let command): submit(command)
        case .subscribe(let origin, let frameID, let principal, let id):
            guard let state = loaded(id, for: request) else { return }
            subscribe(state, origin, frameID, principal)
        case .forget(let core, let id, let answers):
            forget(core, id, answers: answers)
        case .connect(let origin, let key, let shardKey): connect(origin, key, shardKey)
        case .attach(let core, let key): attach(core, userState(key))
        case .detach(let core, let key): detach(core, key)
        case .closeInactive(let id): closeInactive(id)
        case .typing(let origin, let frameID, let principal, let id, let isStart):
            guard let state = loaded(id, for: request) else { return }
            typing(state, origin, frameID, principal, isStart: isStart)
        case .cancel(let origin, let frameID, let principal, let run):
            cancel(run, origin, frameID, principal)
        case .read(let mark): read(mark)
        case .introduce(let origin, let principal, let id, let seq):
            guard let state = loaded(id, for: request) else { return }
            introduce(state, origin, principal, seq: seq)
        case .deviceCame(let key, let id):
            users[key]?.deviceCame(id, nowMilliseconds: nowMilliseconds)
        case .deviceWent(let key, let id):
            users[key]?.deviceWent(id, nowMilliseconds: nowMilliseconds)
        case .session(let origin, let principal, let id): session(id, origin, principal)
        case .sessions(let origin, let key): sessions(of: key, origin)
        case .endSession(let origin, let principal, let id): endSession(id, origin, principal)
        }
    }

    /// The conversation if it is held; otherwise the request waits until it has been read.
    func loaded(
        _ id: Identifier, for request: @autoclosure () -> OwnerRequest
    ) -> ConversationState? {
        if let state = conversations[id] {
            state.wasTouched = true
            counters.conversationHits += 1
            return state
        }
        counters.conversationMisses += 1
        if reading.insert(id).inserted { actions.append(.read(.conversation(id))) }
        unread[id, default: []].append(request())
        return nil
    }

    func userState(_ key: UserKey) -> UserState {
        if let state = users[key] {
            state.wasTouched = true
            return state
        }
        let state = UserState(key)
        users[key] = state
        userClock.insert(key)
        evictUsers()
        return state
    }

    func hold(_ state: ConversationState) {
        if conversations.updateValue(state, forKey: state.row.id) == nil {
            count(state.row.tenant, 1)
        }
        conversationClock.insert(state.row.id)
        evictConversations()
    }

    func drop(_ id: Identifier) {
        guard let state = conversations.removeValue(forKey: id) else { return }
        count(state.row.tenant, -1)
        if state.followers != 0 { users[state.user]?.followed.removeAll { $0 == id } }
    }

    private func count(_ tenant: TenantIndex, _ change: Int) {
        let index = Int(tenant.value)
        while heldByTenant.count <= index { heldByTenant.append(0) }
        heldByTenant[index] += change
    }

    func fail(_ origin: Origin, _ frameID: ByteBlock?, _ problem: Problem) {
        actions.append(.answer(Answer(origin: origin, frameID: frameID, result: .failure(problem))))
    }

    /// For what has no answer when it succeeds: typing, cancel.
    func complain(_ origin: Origin, _ frameID: ByteBlock?, _ problem: Problem) {
        var answer = Answer(origin: origin, frameID: frameID, result: .failure(problem))
        answer.isCounted = false
        actions.append(.answer(answer))
    }

    func refuseSubscription(
        _ origin: Origin, _ frameID: ByteBlock?, _ id: Identifier, _ problem: Problem
    ) {
        var answer = Answer(origin: origin, frameID: frameID, result: .failure(problem))
        answer.about = id
        actions.append(.answer(answer))
    }

    /// True when the principal may see this conversation. Everybody else is told that it does not
    /// exist.
    func mayAccess(_ principal: Principal, _ state: ConversationState) -> Bool {
        guard principal.tenant == state.row.tenant else { return false }
        return principal.may(.anyUser) || principal.subject.equals(state.row.userID)
    }

    static let unknownConversation = Problem(.notFound, "There is no such conversation.")
    static let storeUnavailable = Problem(
        .temporarilyUnavailable, "The message store cannot write now; nothing was kept. Try again.",
        retryAfterSeconds: 2)

    // MARK: Reads

    public func didRead(_ result: OwnerReadResult) {
        switch result {
        case .user(let key, let rows):
            let user = userState(key)
            user.isLoaded = true
            for stored in rows where user.open[Int(stored.row.channel.rawValue)] == nil {
                let row = stored.row
                // It was closed after this was read.
                if let held = conversations[row.id], held.inFlight == nil,
                    held.row.status == .closed
                {
                    continue
                }
                user.open[Int(row.channel.rawValue)] = row.id
                if conversations[row.id] == nil { hold(ConversationState(stored)) }
            }
            let waiting = user.waiting
            user.waiting = []
            // What waits for one of these conversations came first; nothing may overtake it now.
            for id in rows.map(\.row.id) where conversations[id] != nil {
                for request in unread.removeValue(forKey: id) ?? [] { receive(request) }
            }
            for submission in waiting { submit(submission) }
        case .conversation(let id, let stored):
            reading.remove(id)
            let waiting = unread.removeValue(forKey: id) ?? []
            if let stored {
                if conversations[id] == nil { hold(ConversationState(stored)) }
                for request in waiting { receive(request) }
            } else {
                for request in waiting { refuse(request, Self.unknownConversation) }
            }
        case .unavailable(.user(let key)):
            let user = userState(key)
            let waiting = user.waiting
            user.waiting = []
            for submission in waiting {
                fail(submission.origin, submission.frameID, Self.storeUnavailable)
            }
        case .unavailable(.conversation(let id)):
            reading.remove(id)
            for request in unread.removeValue(forKey: id) ?? [] {
                refuse(request, Self.storeUnavailable)
            }
        }
    }

    private func refuse(_ request: OwnerRequest, _ problem: Problem) {
        switch request {
        case .submit(let submission): fail(submission.origin, submission.frameID, problem)
        case .command(let command): fail(command.origin, nil, problem)
        case .subscribe(let origin, let frameID, _, let id):
            refuseSubscription(origin, frameID, id, problem)
        case .typing(let origin, let frameID, _, _, _), .cancel(let origin, let frameID, _, _):
            origin.isSocket
                ? complain(origin, frameID, problem) : fail(origin, frameID, problem)
        case .read(let mark): refuse(mark, problem)
        case .introduce, .closeInactive, .attach, .forget, .connect, .detach, .deviceCame,
            .deviceWent, .session, .sessions,
            .endSession:
            break
        }
    }

    // MARK: Bounded memory

    private func evictConversations() {
        for _ in 0..<SecondChance<Identifier>.stepsMax {
            guard let id = conversationClock.candidate else { return }
            if let state = conversations[id], state.wasTouched || !mayForget(state) {
                state.wasTouched = false
                conversationClock.settle(.spared)
            } else {
                drop(id)
                conversationClock.settle(.gone)
            }
        }
    }

    /// Nothing would be lost if this conversation were read again, and no older read of it is on
    /// its way that would bring it back as it was.
    func mayForget(_ state: ConversationState) -> Bool {
        state.isIdle && !reading.contains(state.row.id)
            && users[state.user]?.waiting.isEmpty ?? true
    }

    /// Nothing would be lost or overtaken if this user were read again: the store knows every
    /// conversation that is open, and no message waits for one of them to be read.
    func mayForget(_ user: UserState) -> Bool {
        guard user.isIdle else { return false }
        for case let id? in user.open {
            if unread[id] != nil { return false }
            if let state = conversations[id], !state.isStored { return false }
        }
        return true
    }

    private func evictUsers() {
        for _ in 0..<SecondChance<UserKey>.stepsMax {
            guard let key = userClock.candidate else { return }
            if let state = users[key], state.wasTouched || !mayForget(state) {
                state.wasTouched = false
                userClock.settle(.spared)
            } else {
                if let session = users[key]?.session { sessions[session] = nil }
                users[key] = nil
                userClock.settle(.gone)
            }
        }
    }
}
