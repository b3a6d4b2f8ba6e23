// What agents do to conversations in a world.

import Bytes
import ChatModel

@testable import Conversations

extension World {
    @discardableResult func command(_ person: Person, _ id: Identifier, _ act: Command.Act) -> Int {
        let number = tickets.count
        let origin = origin(core: 0, isSocket: false)
        open(.command, person, nil, id)
        owner.receive(
            .command(
                Command(origin: origin, principal: person.principal, conversation: id, act: act)))
        take()
        return number
    }

    @discardableResult func patch(
        _ person: Person, _ id: Identifier, _ change: (inout ConversationPatch) -> Void
    ) -> Int {
        var patch = ConversationPatch()
        change(&patch)
        return command(person, id, .patch(patch))
    }

    func entries(_ id: Identifier, _ kind: EntryKind) -> [KeptEntry] {
        (store.logs[id] ?? []).filter { $0.kind == kind }
    }

    /// True when the entry says that a human has taken over.
    static func handsToHuman(_ entry: KeptEntry) -> Bool {
        entry.kind == .handler && entry.body.bytes.contains("\"data\":{\"type\":\"human\"")
    }
}
