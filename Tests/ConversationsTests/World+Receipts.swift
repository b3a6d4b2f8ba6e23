// Reading in a world, and what must hold of cursors.

import Bytes
import ChatModel

@testable import Conversations

extension World {
    @discardableResult func read(
        _ person: Person, _ id: Identifier, _ seq: UInt64, core: UInt8? = nil
    ) -> Int {
        let number = tickets.count
        let origin = origin(core: core ?? 0, isSocket: core != nil)
        open(core == nil ? .readOverHTTP : .read, person, nil, id)
        marks[number] = seq
        owner.receive(
            .read(
                ReadMark(
                    origin: origin, frameID: nil, principal: person.principal, conversation: id,
                    seq: seq)))
        take()
        return number
    }

    @discardableResult func introduce(_ person: Person, _ id: Identifier, seq: UInt64) -> Int {
        let number = tickets.count
        let origin = origin(core: 3, isSocket: true)
        open(.introduce, person, nil, id)
        owner.receive(.introduce(origin, person.principal, id, seq: seq))
        take()
        return number
    }

    /// What is stored of a participant's cursor.
    func cursor(_ person: Person, _ id: Identifier) -> ReadCursor? {
        store.cursors[id]?.first { $0.userID.equals(person.key.userID) }
    }

    func receipts(_ id: Identifier) -> [String] {
        frames.filter {
            $0.delivery.conversation == id && $0.text.hasPrefix(#"{"type":"receipt""#)
        }.map(\.text)
    }

    static func receipt(_ id: Identifier, _ person: Person, read: Int, delivered: Int) -> String {
        #"{"type":"receipt","conversation_id":"\#(id.text(.conversation))","user_id":""#
            + "\(person.key.userID.text)\",\"delivered_seq\":\(delivered),\"read_seq\":\(read)}"
    }

    func lastPublicSeq(_ id: Identifier) -> UInt64 {
        store.logs[id]?.last { !$0.isInternal }?.seq ?? 0
    }

    // MARK: Checks

    func didSendCursors(_ unit: CommitUnit) {
        if unit.cursors.isEmpty { violate("a unit is empty") }
        if unit.cursors.count > 2 * Limits.cursorsPerConversationMax {
            violate("a unit has \(unit.cursors.count) cursors")
        }
        if unit.rowChange != .none || store.rows[unit.conversation.id] == nil {
            violate("cursors of a conversation that is not stored")
        }
        append(unit)
    }

    func checkReadIsStored(_ number: Int, _ ticket: Ticket) {
        guard let id = ticket.conversation, let seq = marks[number], ticket.status == 204 else {
            return violate("ticket \(number): a mark is answered \(ticket.status ?? 0)")
        }
        let wanted = min(seq, lastPublicSeq(id))
        if cursor(ticket.person, id)?.readSeq ?? 0 < wanted {
            violate("ticket \(number): a mark of \(wanted) is answered and not stored")
        }
    }

    func didTell(_ answer: Answer, _ ticket: Ticket) {
        guard case .success(_, let body, _, _) = answer.result, let id = answer.about,
            ticket.kind == .introduce, ticket.conversation == id
        else { return violate("a frame for nobody") }
        told[Int(answer.origin.ordinal), default: []].append(body.text)
        if body.bytes.hasPrefix("{\"type\":\"receipt\"") { checkReceipt(body.text, id) }
    }

    /// It says what is stored, points at nothing that is internal at the log's end, and never goes
    /// back.
    func checkReceipt(_ text: String, _ id: Identifier) {
        let parts = text.split(separator: "\"", omittingEmptySubsequences: false).map(String.init)
        let user = parts[11]
        guard parts.count > 16, let delivered = UInt64(parts[14].dropFirst().dropLast()),
            let read = UInt64(parts[16].dropFirst().dropLast())
        else { return violate("a receipt that is none: \(text)") }
        let name = "\(id.text(.conversation)) \(user)"
        let before = receipts[name] ?? (0, 0)
        if read < before.read || delivered < before.delivered { violate("\(name) goes back") }
        receipts[name] = (read, delivered)
        if read > delivered { violate("\(name) has read what it was not given") }
        if delivered > lastPublicSeq(id) { violate("\(name) is beyond the last public entry") }
        let stored = store.cursors[id]?.first { $0.userID.text == user }
        if stored?.readSeq ?? 0 < read || stored?.deliveredSeq ?? 0 < delivered {
            violate("\(name): a receipt tells of what is not stored")
        }
    }
}
