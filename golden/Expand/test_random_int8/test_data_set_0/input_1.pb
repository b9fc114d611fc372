BlikeJÀ
