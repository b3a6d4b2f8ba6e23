// What the simulated store has on its disk: it outlives the process.

import Bytes
import ChatModel
import Stores

/// An entry that is stored, with its body.
@dynamicMemberLookup struct KeptEntry {
    let stored: StoredEntry
    let body: ByteSlice

    subscript<Value>(dynamicMember path: KeyPath<StoredEntry, Value>) -> Value {
        stored[keyPath: path]
    }
}

/// Owner: the simulation's one thread. Follows the contract of `CommitUnit` and `CommitOutcome`,
/// and is what the checks compare everything with.
final class Archive {
    struct Place {
        let conversation: Identifier
        let index: Int
    }

    private(set) var rows: [Identifier: Conversation] = [:]
    /// In the order of their making, so that nothing depends on a dictionary's order.
    private(set) var order: [Identifier] = []
    private(set) var logs: [Identifier: [KeptEntry]] = [:]
    private(set) var keys: [Digest: Place] = [:]
    /// Entries that another writer put into a log; nobody here was told of them.
    private(set) var foreign: [Identifier: Set<UInt64>] = [:]
    private(set) var cursors: [Identifier: [ReadCursor]] = [:]
    private(set) var entryCount = 0
    /// Edits and redactions, by the seq of their message.
    private(set) var changes: [Identifier: [UInt64: [UInt64]]] = [:]
    /// Their names, of those that have conversations closed.
    var tenants: [TenantIndex: ByteBlock] = [:]
    let plant: Plant?
    private var unitCount = 0

    init(plant: Plant? = nil) { self.plant = plant }

    func head(of id: Identifier) -> UInt64 { logs[id]?.last?.seq ?? 0 }

    func entry(_ id: Identifier, _ seq: UInt64) -> KeptEntry? {
        guard let log = logs[id], seq >= 1, seq <= UInt64(log.count) else { return nil }
        return log[Int(seq) - 1]
    }

    /// The last entry that somebody here knows of.
    func knownHead(of id: Identifier) -> UInt64 {
        var head = head(of: id)
        while foreign[id]?.contains(head) ?? false { head -= 1 }
        return head
    }

    func row(_ id: Identifier) -> Conversation? {
        guard var row = rows[id] else { return nil }
        row.lastSeq = head(of: id)
        return row
    }

    // MARK: Writing

    func apply(_ unit: CommitUnit) -> CommitOutcome {
        unitCount += 1
        if plant == .losesUnits, unitCount % 40 == 0 { return .committed }
        for change in unit.cursors where plant != .losesCursors {
            self.change(change, of: unit.conversation.id)
        }
        if unit.entries.isEmpty { return .committed }
        for (index, entry) in unit.entries.enumerated() {
            guard plant != .forgetsKeys, let key = entry.idempotency, let found = keys[key]
            else { continue }
            return .duplicate(index: index, answer(found))
        }
        let id = unit.conversation.id
        guard isNext(unit.entries, after: head(of: id)),
            (unit.rowChange == .insert) == (rows[id] == nil)
        else { return .conflict(lastSeq: head(of: id)) }
        if unit.rowChange == .insert { order.append(id) }
        if unit.rowChange != .none { rows[id] = unit.conversation }
        for entry in unit.entries {
            append(KeptEntry(stored: entry, body: unit.body(of: entry)), to: id)
        }
        return .committed
    }

    private func change(_ change: CursorChange, of id: Identifier) {
        switch change {
        case .forget(let userID): cursors[id]?.removeAll { $0.userID.equals(userID) }
        case .advance(let cursor):
            let known = cursors[id]?.first { $0.userID.equals(cursor.userID) }
            cursors[id, default: []].removeAll { $0.userID.equals(cursor.userID) }
            cursors[id, default: []].append(
                ReadCursor(
                    userID: cursor.userID, readSeq: max(cursor.readSeq, known?.readSeq ?? 0),
                    deliveredSeq: max(cursor.deliveredSeq, known?.deliveredSeq ?? 0)))
        }
    }

    private func isNext(_ entries: [StoredEntry], after head: UInt64) -> Bool {
        for (index, entry) in entries.enumerated() where entry.seq != head + 1 + UInt64(index) {
            return false
        }
        let keyed = entries.compactMap(\.idempotency)
        return Set(keyed).count == keyed.count
    }

    private func append(_ entry: KeptEntry, to id: Identifier) {
        if let key = entry.idempotency {
            keys[key] = Place(conversation: id, index: logs[id]?.count ?? 0)
        }
        logs[id, default: []].append(entry)
        if entry.kind == .edit || entry.kind == .redaction {
            changes[id, default: [:]][entry.answersSeq, default: []].append(entry.seq)
        }
        entryCount += 1
    }

    private func answer(_ place: Place) -> StoredAnswer {
        let log = logs[place.conversation] ?? []
        let entry = log[place.index]
        let reply = log.first { $0.answersSeq == entry.seq && $0.kind == .message }
        return StoredAnswer(
            conversation: place.conversation, messageID: entry.id, seq: entry.seq,
            fingerprint: entry.fingerprint, session: entry.session, message: entry.body,
            reply: entry.isAcceptedOnly ? nil : reply?.body)
    }

    /// Another node writes an entry of its own.
    func appendForeign(to id: Identifier, _ entryID: Identifier, milliseconds: UInt64) {
        guard let row = rows[id] else { return }
        let entry = Entry(
            id: entryID, conversation: id, seq: head(of: id) + 1, kind: .label, isInbound: false,
            senderType: .system, senderID: ByteBlock("elsewhere"), channel: row.channel,
            content: ByteBlock("{}"), createdAtMilliseconds: milliseconds)
        let writer = ByteWriter(capacity: 512)
        let part = entry.write(into: writer)
        let stored = StoredEntry(
            id: entryID, seq: entry.seq, kind: .label, isInbound: false,
            createdAtMilliseconds: milliseconds, idempotency: nil, fingerprint: 0, answersSeq: 0,
            session: entryID, body: ByteRange(0, writer.count), part: part)
        append(KeptEntry(stored: stored, body: ByteSlice(writer.block())), to: id)
        foreign[id, default: []].insert(entry.seq)
    }

    // MARK: Reading

    func read(_ read: OwnerRead) -> OwnerReadResult {
        switch read {
        case .conversation(let id): return .conversation(id, row(id).map(stored))
        case .user(let key):
            var found: [Conversation] = []
            for id in order.reversed() {
                guard let row = row(id), UserKey(tenant: row.tenant, userID: row.userID) == key,
                    row.status != .closed, !found.contains(where: { $0.channel == row.channel })
                else { continue }
                found.append(row)
            }
            return .user(key, found.map(stored))
        }
    }

    private func stored(_ row: Conversation) -> StoredConversation {
        StoredConversation(
            row: row, lastPublicSeq: logs[row.id]?.last { !$0.isInternal }?.seq ?? 0,
            cursors: cursors[row.id] ?? [])
    }

    /// Two at a time, so that a look takes more than one page.
    func inactive(_ query: InactiveQuery) -> InactivePage {
        var found: [Identifier] = []
        for id in order.sorted(by: { ($0.high, $0.low) < ($1.high, $1.low) }) {
            guard (id.high, id.low) > (query.after.high, query.after.low),
                let row = rows[id], tenants[row.tenant]?.equals(query.tenantName) ?? false,
                row.status == .open || row.status == .pending,
                logs[id]?.last?.createdAtMilliseconds ?? .max <= query.cutoffMilliseconds
            else { continue }
            found.append(id)
            if found.count == 2 { return InactivePage(found: found, last: id) }
        }
        return InactivePage(found: found, last: nil)
    }

    func isVisible(_ row: Conversation, in scope: Scope) -> Bool {
        if plant == .showsEverybody { return true }
        return row.tenant == scope.tenant && scope.userID.map { $0.equals(row.userID) } ?? true
    }

    private func isVisible(_ entry: KeptEntry, _ showsInternal: Bool) -> Bool {
        showsInternal || !entry.isInternal || plant == .showsInternal
    }

    func show(_ query: ConversationQuery) -> Answer {
        guard let row = row(query.conversation), isVisible(row, in: query.scope) else {
            return Answer(
                origin: query.origin, frameID: nil,
                result: .failure(Problem(.notFound, "There is no such conversation.")))
        }
        let writer = ByteWriter(capacity: 1024)
        row.write(into: writer, unread: 0)
        var answer = Self.answer(query.origin, writer.block())
        answer.version = row.version
        return answer
    }

    /// The answer to a page of history, as the real store writes it (cursors apart).
    func history(_ query: HistoryQuery) -> Answer {
        guard let row = row(query.conversation), isVisible(row, in: query.scope) else {
            return Answer(
                origin: query.origin, frameID: nil,
                result: .failure(Problem(.notFound, "There is no such conversation.")))
        }
        var entries = (logs[query.conversation] ?? []).filter {
            $0.seq > query.afterSeq ?? 0 && $0.seq < query.beforeSeq ?? .max
                && isVisible($0, query.scope.showsInternal)
        }
        let readOrder = query.direction == .forward ? query.order : query.order.reversed
        if readOrder == .descending { entries.reverse() }
        let hasMore = entries.count > query.limit
        entries = Array(entries.prefix(query.limit))
        if query.direction == .backward { entries.reverse() }
        let writer = ByteWriter(capacity: 4096)
        writer.append("{\"conversation\":")
        row.write(into: writer, unread: 0)
        writer.append(",\"data\":[")
        for (index, entry) in entries.enumerated() {
            if index > 0 { writer.append(0x2C) }
            writer.append(current(query.conversation, entry))
        }
        writer.append(
            hasMore ? "],\"page\":{\"has_more\":true}}" : "],\"page\":{\"has_more\":false}}")
        return Self.answer(query.origin, writer.block())
    }

    func list(_ query: ListQuery) -> Answer {
        let writer = ByteWriter(capacity: 4096)
        writer.append("{\"data\":[")
        var count = 0
        for id in order.reversed() {
            guard let row = row(id), isVisible(row, in: query.scope), count < query.limit else {
                continue
            }
            if count > 0 { writer.append(0x2C) }
            row.write(into: writer, unread: 0)
            count += 1
        }
        writer.append("],\"page\":{\"has_more\":false}}")
        return Self.answer(query.origin, writer.block())
    }

    func replay(_ query: ReplayQuery) -> ReplayPage {
        var frames: [ByteBlock] = []
        var bytes = 0
        var last = query.afterSeq
        for entry in logs[query.conversation] ?? []
        where entry.seq > query.afterSeq && entry.seq <= query.throughSeq
            && isVisible(entry, query.showsInternal)
        {
            guard frames.count < Limits.replayBatch, bytes < Limits.replayPageBytes else { break }
            let frame = Self.frame(query.conversation, current(query.conversation, entry))
            bytes += frame.count
            frames.append(frame)
            last = entry.seq
        }
        return ReplayPage(
            origin: query.origin, conversation: query.conversation, frames: frames, lastSeq: last)
    }

    /// The frame in which an entry reaches a socket.
    static func frame(_ conversation: Identifier, _ body: ByteBlock) -> ByteBlock {
        let writer = ByteWriter(capacity: body.count + 128)
        writer.append("{\"type\":\"message\",\"conversation_id\":\"")
        conversation.write(.conversation, into: writer)
        writer.append("\",\"message\":")
        writer.append(body)
        writer.append(0x7D)
        return writer.block()
    }

    static func answer(_ origin: Origin, _ body: ByteBlock) -> Answer {
        Answer(
            origin: origin, frameID: nil,
            result: .success(status: 200, body: ByteSlice(body), isReplay: false, follow: nil))
    }
}
