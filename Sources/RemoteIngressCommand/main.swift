print("remoteingress")
