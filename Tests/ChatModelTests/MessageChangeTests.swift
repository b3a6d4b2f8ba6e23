import Bytes
import Testing

@testable import ChatModel

private func principal(_ role: Role) -> Principal {
    Principal(
        tenant: TenantIndex(0), subject: ByteBlock("kim"), permissions: role.permissions,
        expiresAtSeconds: .max)
}

private func outcome(
    _ deed: MessageChange.Deed, _ role: Role, from sender: SenderType, isFromSubject: Bool = true,
    isRedacted: Bool = false, isKnown: Bool = false
) -> String {
    let change = MessageChange(
        deed: deed, message: Identifier(high: 1, low: 2), content: ByteBlock("{}"))
    let target = ChangeTarget(
        seq: 1, senderType: sender, isFromSubject: isFromSubject, isInternal: false,
        isRedacted: isRedacted, known: isKnown ? .init(entry: nil, isReplay: false) : nil,
        headSeq: 1)
    switch change.decision(on: target, by: principal(role)) {
    case .refuse(let problem): return problem.code.rawValue
    case .unchanged: return "unchanged"
    case .proceed: return "proceed"
    }
}

@Suite struct MessageChangeTests {
    private static let senders = [SenderType.user, .bot, .agent, .system]

    @Test func `A user edits and deletes only what it sent as a user`() {
        for deed in [MessageChange.Deed.edit, .redaction] {
            for sender in Self.senders {
                for isFromSubject in [true, false] {
                    let isOwn = sender == .user && isFromSubject
                    let found = outcome(deed, .endUser, from: sender, isFromSubject: isFromSubject)
                    #expect(found == (isOwn ? "proceed" : "forbidden"))
                }
            }
        }
    }

    @Test(arguments: [Role.agent, .service, .admin])
    func `Who replies edits what it said itself, and deletes anything`(_ role: Role) {
        for sender in Self.senders {
            for isFromSubject in [true, false] {
                let isOwn = isFromSubject && (sender == .user || sender == .agent)
                let edit = outcome(.edit, role, from: sender, isFromSubject: isFromSubject)
                #expect(edit == (isOwn ? "proceed" : "forbidden"))
                let deletion = outcome(.redaction, role, from: sender, isFromSubject: isFromSubject)
                #expect(deletion == "proceed")
            }
        }
    }

    @Test func `Everybody reacts to everything`() {
        for role in [Role.endUser, .agent] {
            for sender in Self.senders {
                #expect(outcome(.reaction, role, from: sender, isFromSubject: false) == "proceed")
            }
        }
    }

    @Test func `What was deleted stays so, and a reaction to it can be taken back`() {
        #expect(outcome(.edit, .endUser, from: .user, isRedacted: true) == "conflict")
        #expect(outcome(.reaction, .endUser, from: .user, isRedacted: true) == "conflict")
        #expect(outcome(.reactionTakenBack, .endUser, from: .user, isRedacted: true) == "proceed")
        #expect(outcome(.redaction, .endUser, from: .user, isRedacted: true) == "unchanged")
        // Whoever has no right to it learns nothing of it.
        for deed in [MessageChange.Deed.edit, .redaction] {
            #expect(outcome(deed, .endUser, from: .bot, isRedacted: true) == "forbidden")
        }
    }

    @Test func `What is so already is not done again`() {
        for deed in [MessageChange.Deed.edit, .reaction, .reactionTakenBack] {
            #expect(outcome(deed, .endUser, from: .user, isKnown: true) == "unchanged")
        }
        #expect(outcome(.edit, .endUser, from: .bot, isKnown: true) == "forbidden")
        #expect(
            outcome(.edit, .endUser, from: .user, isRedacted: true, isKnown: true) == "conflict")
    }

    @Test func `The contents of entries are the documented ones`() {
        let id = Identifier(high: 0x0194_2f5a_3c10_7a41, low: 0x8f2e_5b6d_7c8e_9f10)
        let text = "msg_01942f5a-3c10-7a41-8f2e-5b6d7c8e9f10"
        let redaction = MessageChange.redaction(of: id)
        #expect(
            redaction.content.bytes.string()
                == #"{"type":"event","name":"redaction","data":{"message_id":"\#(text)"}}"#)
        #expect(redaction.entryKind == .redaction)
        let reaction = MessageChange.reaction(to: id, emoji: ByteBlock("\""))
        #expect(
            reaction.content.bytes.string()
                == #"{"type":"reaction","message_id":"\#(text)","emoji":"\""}"#)
        #expect(reaction.deed == .reaction && reaction.entryKind == .reaction)
        let back = MessageChange.reaction(to: id, emoji: ByteBlock(""))
        #expect(back.deed == .reactionTakenBack && back.entryKind == .reaction)
    }
}
