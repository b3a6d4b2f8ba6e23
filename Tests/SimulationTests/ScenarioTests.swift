// Directed runs of the whole service: what a seed once found, said step by step.

import ChatModel
import Testing

@testable import Simulation

/// A service without faults, and clients that do only what they are told.
private final class Scene {
    let around = Surroundings(seed: 8, trace: nil)
    let network: SimulatedNetwork
    let archive = Archive()
    let journal: Journal
    let setting: Setting
    private(set) var process: SimulatedProcess?

    init(prepare: (inout Faults) -> Void = { _ in }) {
        around.faults.end()
        prepare(&around.faults)
        network = SimulatedNetwork(around)
        journal = Journal(around, archive)
        setting = Setting(around)
        process = SimulatedProcess(around, network, archive, setting)
    }

    func client() -> Client {
        let client = Client(
            number: 0, person: setting.people[0], around: around, network: network,
            journal: journal)
        client.phase = .http
        client.link = network.connect(client)
        return client
    }

    func intent() -> Intent {
        journal.intend(
            setting.people[0], isKeyed: true, words: "hello", channel: "web", conversation: nil)
    }

    func pass(_ nanoseconds: UInt64) {
        let end = around.agenda.now + nanoseconds
        while around.agenda.step(until: end) {}
    }

    var connectionCount: Int {
        (process?.cores ?? []).reduce(0) { $0 + $1.shard.census().connections }
    }
}

@Suite struct ScenarioTests {
    @Test func `A message is answered within milliseconds, over however many cores`() {
        for cores in 1...4 {
            let scene = Scene { $0.coreCount = cores }
            let client = scene.client()
            let intent = scene.intent()
            client.post(intent)
            scene.pass(20 * .millisecond)
            #expect(intent.acknowledged?.seq == 1)
            #expect(scene.archive.entryCount == 2, "the message and its reply")
            #expect(scene.around.violations == [])
        }
    }

    @Test func `A request whose answer does not come is answered 504 when its time is over`() {
        let scene = Scene { $0.commitMaxNanoseconds = 1_000_000 * .second }
        let client = scene.client()
        client.post(scene.intent())
        scene.pass(4 * .second)
        #expect(client.calls.count == 1)
        scene.pass(2 * .second)
        #expect(client.calls.isEmpty)
        #expect(scene.journal.counts["504"] == 1)
        #expect(scene.around.violations == [])
    }

    @Test func `A peer that does not read its last answer is closed all the same`() {
        let scene = Scene {
            $0.outboxBytes = 16
            $0.commitMaxNanoseconds = 1_000_000 * .second
        }
        let client = scene.client()
        scene.pass(.millisecond)
        #expect(scene.connectionCount == 1)
        client.post(scene.intent())
        if let link = client.link { scene.network.pause(link) }
        scene.pass(6 * .second)
        #expect(scene.connectionCount == 1, "the 504 waits to be read")
        scene.pass(40 * .second)
        #expect(scene.connectionCount == 0)
        #expect(scene.network.openLinkCount == 0)
    }

    @Test func `A crash loses nothing that was acknowledged, and a key still names its message`() {
        let scene = Scene()
        let intent = scene.intent()
        let first = scene.client()
        first.post(intent)
        scene.pass(20 * .millisecond)
        #expect(first.calls.isEmpty)
        let known = intent.acknowledged
        scene.process?.crash()
        let process = SimulatedProcess(
            scene.around, scene.network, scene.archive, scene.setting)
        let client = scene.client()
        client.post(intent)
        scene.pass(20 * .millisecond)
        #expect(process.isAlive && known != nil)
        #expect(intent.acknowledged?.id == known?.id && intent.originalCount == 1)
        #expect(client.calls.isEmpty && scene.archive.entryCount == 2)
    }
}
