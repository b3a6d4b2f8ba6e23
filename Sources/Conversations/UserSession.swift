// A user's session as its owner core knows it: from the first thing that the user does until
// nothing was done for its time to live, or until it is ended. In memory alone: with the process
// it is gone, and the next message makes a new one.

import Bytes
import ChatModel

/// A device that named itself when it connected.
struct Device {
    let id: ByteBlock
    var seenMilliseconds: UInt64
    /// Its sockets that are open.
    var socketCount: Int
}

extension UserState {
    func deviceCame(_ id: ByteBlock, nowMilliseconds: UInt64) {
        if let place = deviceList.firstIndex(where: { $0.id.equals(id) }) {
            deviceList[place].socketCount += 1
            deviceList[place].seenMilliseconds = nowMilliseconds
            return
        }
        if deviceList.count >= Limits.devicesPerSessionMax { forgetDevice() }
        // More that are connected at once are not told of.
        guard deviceList.count < Limits.devicesPerSessionMax else { return }
        deviceList.append(Device(id: id, seenMilliseconds: nowMilliseconds, socketCount: 1))
    }

    func deviceWent(_ id: ByteBlock, nowMilliseconds: UInt64) {
        // None: the session that it connected to has ended.
        guard let place = deviceList.firstIndex(where: { $0.id.equals(id) }),
            deviceList[place].socketCount > 0
        else { return }
        deviceList[place].socketCount -= 1
        deviceList[place].seenMilliseconds = nowMilliseconds
    }

    /// The one that was not seen for the longest time, of those that are not connected.
    private func forgetDevice() {
        let gone = deviceList.indices.filter { deviceList[$0].socketCount == 0 }
        let oldest = gone.min { deviceList[$0].seenMilliseconds < deviceList[$1].seenMilliseconds }
        if let oldest { deviceList.remove(at: oldest) }
    }
}
