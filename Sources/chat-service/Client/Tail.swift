// `chat-service tail`: a conversation's log on standard output, from a place on, and then what comes.

import ArgumentParser
import CLinux

struct Tail: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Prints a conversation's log and follows it live, over restarts of the service.",
        discussion: """
            \(ServiceOptions.environmentNote)

            Each entry is printed once and in order. SIGINT ends it with 0.
            """)

    @OptionGroup var service: ServiceOptions
    @Option(help: "Begin behind this entry; 0 is the beginning.") var afterSeq: UInt64 = 0
    @Flag(inversion: .prefixedNo, help: "Whether to wait for what comes.") var follow = true
    @Flag(help: "Print entries as JSON, one a line.") var json = false
    @Argument(help: "The conversation's id.") var conversation: String

    func run() throws {
        try checkConversation(conversation)
        guard afterSeq <= UInt64(Int64.max) else {
            throw ValidationError("--after-seq is larger than any.")
        }
        let environment = environmentValues()
        let credential = try service.credential(environment)
        let client = try service.client(environment)
        switch credential {
        case .token(let token): client.credentialField = "Authorization: Bearer \(token)"
        case .apiKey(let key): client.credentialField = "X-API-Key: \(key)"
        case .guest:
            throw ValidationError(
                "A conversation is read by its user or by agents: give --token or --api-key (CHAT_TOKEN, CHAT_API_KEY)."
            )
        }
        cl_catch_interrupts()
        let follower = Follower(
            client, conversation: conversation, after: afterSeq, text: EntryText(json: json))
        do {
            try follower.catchUp()
            if follow { try follower.follow() }
        } catch let failure as ClientFailure {
            if failure.isInterrupt { return }
            sayError(failure.message)
            throw ExitCode(failure.exitCode)
        } catch is ReaderGone {
            return
        }
    }
}
