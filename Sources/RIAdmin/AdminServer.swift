// skeleton
import Hummingbird
func skeleton() -> [UInt8] { PackageResources.page_html }
