// A message store in memory that follows the contract of `CommitUnit` and `CommitOutcome` to the
// letter.

import Bytes
import ChatModel

/// An entry that is stored, with its body.
@dynamicMemberLookup struct KeptEntry {
    let stored: StoredEntry
    let body: ByteSlice

    subscript<Value>(dynamicMember path: KeyPath<StoredEntry, Value>) -> Value {
        stored[keyPath: path]
    }
}

final class ModelStore {
    struct Key {
        let conversation: Identifier
        let index: Int
    }

    private(set) var rows: [Identifier: Conversation] = [:]
    /// In the order of their making, so that a run does not depend on a dictionary's order.
    private(set) var order: [Identifier] = []
    private(set) var logs: [Identifier: [KeptEntry]] = [:]
    private(set) var cursors: [Identifier: [ReadCursor]] = [:]
    private(set) var keys: [Digest: Key] = [:]
    /// Entries that another writer put into the log; nobody here is told of them.
    private(set) var foreign: [Identifier: Set<UInt64>] = [:]

    func head(of id: Identifier) -> UInt64 { logs[id]?.last?.seq ?? 0 }

    func apply(_ unit: CommitUnit) -> CommitOutcome {
        for change in unit.cursors { self.change(change, of: unit.conversation.id) }
        if unit.entries.isEmpty { return .committed }
        for (index, entry) in unit.entries.enumerated() {
            guard let key = entry.idempotency, let found = keys[key] else { continue }
            return .duplicate(index: index, answer(found))
        }
        let id = unit.conversation.id
        if unit.entries.first?.seq != head(of: id) + 1 { return .conflict(lastSeq: head(of: id)) }
        switch unit.rowChange {
        case .insert:
            rows[id] = unit.conversation
            order.append(id)
        case .update: rows[id] = unit.conversation
        case .none: break
        }
        for entry in unit.entries {
            if let key = entry.idempotency {
                keys[key] = Key(conversation: id, index: logs[id]?.count ?? 0)
            }
            logs[id, default: []].append(
                KeptEntry(stored: entry, body: unit.body(of: entry)))
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

    private func answer(_ key: Key) -> StoredAnswer {
        let log = logs[key.conversation] ?? []
        let entry = log[key.index]
        let reply = log.first { $0.answersSeq == entry.seq && $0.kind == .message }
        return StoredAnswer(
            conversation: key.conversation, messageID: entry.id, seq: entry.seq,
            fingerprint: entry.fingerprint, session: entry.session, message: entry.body,
            reply: entry.isAcceptedOnly ? nil : reply?.body)
    }

    func appendForeign(to id: Identifier, _ entryID: Identifier) {
        let seq = head(of: id) + 1
        logs[id, default: []].append(
            KeptEntry(
                stored: StoredEntry(
                    id: entryID, seq: seq, kind: .label, isInbound: false,
                    createdAtMilliseconds: 0, idempotency: nil, fingerprint: 0, answersSeq: 0,
                    session: entryID, body: ByteRange(0, 2), part: .empty),
                body: ByteSlice(ByteBlock("{}"))))
        foreign[id, default: []].insert(seq)
    }

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

    private func row(_ id: Identifier) -> Conversation? {
        guard var row = rows[id] else { return nil }
        row.lastSeq = head(of: id)
        return row
    }
}

/// Says nothing to "quiet…", hands off on "human…", and repeats anything else.
final class ScriptedEngine: ReplyEngine {
    private(set) var askedCount = 0

    func reply(to text: ByteBlock, contentType: ContentType) -> EngineReply? {
        askedCount += 1
        if text.bytes.hasPrefix("quiet") { return nil }
        let handsOff = text.bytes.hasPrefix("human")
        let words = handsOff ? "A human takes over now" : "You said: \(text.bytes.string())"
        let writer = ByteWriter(capacity: 128)
        writer.append("{\"type\":\"text\",\"text\":")
        writer.append(json: words)
        writer.append("}")
        return EngineReply(content: writer.block(), text: ByteBlock(words), handsOff: handsOff)
    }
}

/// A user of a tenant, with the credential that it uses.
struct Person {
    let principal: Principal
    let key: UserKey
    let shardKey: UInt16

    init(_ name: String, tenant: UInt16 = 0, permissions: Permissions = Role.endUser.permissions) {
        let subject = ByteBlock(name)
        principal = Principal(
            tenant: TenantIndex(tenant), subject: subject, permissions: permissions,
            expiresAtSeconds: .max)
        key = UserKey(tenant: TenantIndex(tenant), userID: subject)
        shardKey = UserKey.shardKey(tenantName: subject.bytes, userID: subject.bytes)
    }
}

func directory(
    _ policy: RunPolicy, tenants: Int = 2, autoCloseSeconds: UInt64 = 0
) -> TenantDirectory {
    TenantDirectory(
        (0..<tenants).map {
            Tenant(
                index: TenantIndex(UInt16($0)), name: "tenant\($0)", allowsGuests: true,
                ratePerMinute: 1, burst: 1, userRatePerMinute: 1, userBurst: 1, runPolicy: policy,
                allowedOrigins: [], autoCloseSeconds: autoCloseSeconds)
        })
}

extension ByteBlock {
    var text: String { bytes.string() }
}

extension ByteSlice {
    var text: String { bytes.string() }
}
